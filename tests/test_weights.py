"""Weights are found without a network where possible; those that cannot be had are refused fast and clearly."""

import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embed.encoders import load_towers, parse_encoder
from embed.encoders.model import load_model
from embed.encoders.torchvision_shim import import_open_clip, import_torch
from embed.encoders.weights import find_weights
from store.errors import MissingExtra, WeightsUnavailable
from tests.hub_server import Hub, hub_server
from tests.tiny_encoder import MODEL_CONFIG, write_tiny_encoder

LIMIT_S = 5.0
TOKEN = "hf_secretsecretsecret"
TINY = "hf-hub:clipsieve/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, an empty cache, and a token that must never be seen."""
    with hub_server() as server:
        use_endpoint(server.url, tmp_path / "cache", monkeypatch)
        yield server


@pytest.fixture
def tiny_hub(hub: Hub, tmp_path: Path) -> Hub:
    """A hub that holds the tiny model."""
    folder = write_tiny_encoder(tmp_path / "served")
    hub.files = {f"clipsieve/tiny/{path.name}": path for path in folder.iterdir()}
    return hub


def use_endpoint(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point huggingface_hub, which read its environment when it was imported, to a hub and a cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def refusal(words: str) -> str:
    """Return the one sentence that refuses an encoder, checked for all that every such sentence must be."""
    started = time.monotonic()
    with pytest.raises(WeightsUnavailable) as caught:
        find_weights(parse_encoder(words))
    assert time.monotonic() - started < LIMIT_S
    sentence = str(caught.value)
    assert words in sentence
    assert "--encoder " in sentence
    assert "HF_HOME" in sentence
    assert TOKEN not in sentence
    assert "\n" not in sentence
    return sentence


def test_a_model_is_downloaded_once(tiny_hub: Hub) -> None:
    """The first load downloads config and weights; the second asks the network for nothing."""
    first = load_towers(parse_encoder(TINY), device="cpu", precision="fp32").encoder
    assert (first.model_name, first.pretrained) == ("clipsieve/tiny", "open_clip_model.safetensors")
    asked = len(tiny_hub.requests)
    second = load_towers(parse_encoder(TINY), device="cpu", precision="fp32").encoder
    assert (second, len(tiny_hub.requests)) == (first, asked)


def test_the_hubs_model_is_the_folders_model(tiny_hub: Hub, tmp_path: Path) -> None:
    """A model from the hub and the same files in a folder are one encoder by fingerprint."""
    from_hub = load_towers(parse_encoder(TINY), device="cpu", precision="fp32")
    from_folder = load_towers(parse_encoder(f"local-dir:{tmp_path / 'served'}"), device="cpu", precision="fp32")
    assert from_hub.encoder.fingerprint == from_folder.encoder.fingerprint


@pytest.mark.slow
def test_environment_variables_are_enough(tiny_hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT and HF_HOME lead a fresh process to a mirror, and HF_HUB_OFFLINE then to its cache, silently."""
    code = f"from embed.encoders import *; print(load_towers(parse_encoder({TINY!r})).encoder.fingerprint)"
    words = [sys.executable, "-W", "error", "-c", code]
    environment = {**os.environ, "HF_ENDPOINT": tiny_hub.url, "HF_HOME": str(tmp_path / "home")}
    online = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    asked = len(tiny_hub.requests)
    environment["HF_HUB_OFFLINE"] = "1"
    offline = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert (online.stdout, online.stderr, offline.stderr) == (offline.stdout, "", "")
    assert (asked > 0, len(tiny_hub.requests)) == (True, asked)


def test_a_tag_falls_back_to_the_older_file_name(tiny_hub: Hub, tmp_path: Path) -> None:
    """Where a repository holds no safetensors, its open_clip_pytorch_model.bin is taken."""
    old = tmp_path / "old.bin"
    old.write_bytes(b"weights")
    tiny_hub.files = {"laion/CLIP-ViT-B-32-laion2B-s34B-b79K/open_clip_pytorch_model.bin": old}
    weights = find_weights(parse_encoder("ViT-B-32/laion2b_s34b_b79k"))
    assert weights.checkpoint is not None
    assert weights.checkpoint.read_bytes() == b"weights"
    assert weights.preprocessing["interpolation"] == "bicubic"


def test_a_tag_brings_its_activation_and_preprocessing(hub: Hub, tmp_path: Path) -> None:
    """QuickGELU and the resize mode come from open_clip's record of the weights, not from the model's name."""
    file = tmp_path / "any"
    file.write_bytes(b"weights")
    hub.files = {
        "apple/DFN5B-CLIP-ViT-H-14/open_clip_model.safetensors": file,
        "jienengchen/ViTamin-S/pytorch_model.bin": file,
    }
    weights = find_weights(parse_encoder("ViT-H-14/dfn5b"))
    assert weights.config["quick_gelu"] is True
    assert weights.preprocessing["resize_mode"] == "squash"
    assert find_weights(parse_encoder("ViTamin-S/datacomp1b")).config["quick_gelu"] is False


def test_a_repository_whose_config_forgets_quickgelu_still_gets_it(hub: Hub, tmp_path: Path) -> None:
    """A repository that open_clip records as QuickGELU is built so, even where its own config does not say it."""
    folder = write_tiny_encoder(tmp_path / "served")
    hub.files = {f"apple/DFN2B-CLIP-ViT-L-14/{path.name}": path for path in folder.iterdir()}
    loaded = load_model(parse_encoder("hf-hub:apple/DFN2B-CLIP-ViT-L-14"))
    quick_gelu = import_open_clip().transformer.QuickGELU
    assert any(isinstance(module, quick_gelu) for module in loaded.model.visual.modules())
    assert loaded.config["quick_gelu"] is True


def test_text_towers_of_another_library_say_so(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose tokenizer comes from the transformers library asks for it by name."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match="pip install transformers"):
        find_weights(parse_encoder("ViT-B-16-SigLIP/webli"))


def test_a_closed_endpoint_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the sentence comes within seconds and names host, cache and both ways out, no credentials."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    use_endpoint(f"http://user:{TOKEN}@127.0.0.1:{port}", tmp_path / "cache", monkeypatch)
    sentence = refusal("ViT-B-32/laion2b_s34b_b79k")
    assert f"127.0.0.1:{port} cannot be reached" in sentence
    assert "--encoder ViT-B-32/path/to/file.pt" in sentence
    assert str(tmp_path / "cache") in sentence


def test_a_silent_endpoint_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that accepts a connection and never answers is given up before the time limit."""
    monkeypatch.setattr("embed.encoders.hub.PROBE_S", 0.5)
    hub.silent = True
    assert "did not answer in time" in refusal(TINY)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "GatedRepo", "restricts clipsieve/tiny to people who accepted its terms"),
        (403, "", "HTTP status 403"),
        (401, "RepoNotFound", "knows no repository clipsieve/tiny"),
        (404, "RepoNotFound", "knows no repository clipsieve/tiny"),
        (404, "EntryNotFound", "holds no open_clip_config.json"),
        (503, "", "HTTP status 503"),
        (429, "", "HTTP status 429"),
    ],
)
def test_each_refusal_has_its_reason(hub: Hub, status: int, code: str, reason: str) -> None:
    """Gated, unknown, incomplete and overloaded are told apart, each within the time limit and without a retry."""
    hub.refusal = (status, {"X-Error-Code": code} if code else {})
    sentence = refusal(TINY)
    assert reason in sentence
    assert "--encoder local-dir:/path/to/folder" in sentence
    assert len(hub.requests) == 1


def test_a_login_page_is_no_hub(hub: Hub) -> None:
    """A proxy that answers every address with a page of its own is recognised."""
    hub.refusal = (200, {})
    assert "does not answer like a Hugging Face hub" in refusal(TINY)


def test_offline_mode_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE with an empty cache is refused without a single request."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids a download" in refusal(TINY)
    assert hub.requests == []


def torn(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replaced_by_text(path: Path) -> None:
    """Replace a file by a page of text, as a proxy does."""
    path.write_text("<html>Please log in</html>")


def emptied(path: Path) -> None:
    """Leave nothing in a file."""
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [torn, replaced_by_text, emptied])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_damaged_checkpoints_are_named(tmp_path: Path, damage: Callable[[Path], None], suffix: str) -> None:
    """A torn, replaced or empty checkpoint is refused in one line that names the file."""
    folder = write_tiny_encoder(tmp_path / "tiny")
    checkpoint = folder / "open_clip_model.safetensors"
    if suffix == "bin":
        torch, model = import_torch(), load_model(parse_encoder(f"local-dir:{folder}")).model
        checkpoint.unlink()
        checkpoint = folder / "open_clip_pytorch_model.bin"
        torch.save(model.state_dict(), checkpoint)
    damage(checkpoint)
    with pytest.raises(WeightsUnavailable, match="is no readable checkpoint") as caught:
        load_model(parse_encoder(f"local-dir:{folder}"))
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_download_says_what_to_delete(tiny_hub: Hub) -> None:
    """A cached file that cannot be read would be found again for ever, so its folder in the cache is named."""
    torn(tiny_hub.files["clipsieve/tiny/open_clip_model.safetensors"])
    with pytest.raises(WeightsUnavailable, match=r"delete the folder .*/models--clipsieve--tiny to download it again"):
        load_model(parse_encoder(TINY))


def test_another_models_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of another architecture are refused in one short line, whatever torch has to say about each tensor."""
    folder = write_tiny_encoder(tmp_path / "tiny")
    wider = {**MODEL_CONFIG, "embed_dim": 32, "vision_cfg": {**MODEL_CONFIG["vision_cfg"], "layers": 3}}  # type: ignore[dict-item]
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": wider}))
    with pytest.raises(WeightsUnavailable, match="are not those of this model") as caught:
        load_model(parse_encoder(f"local-dir:{folder}"))
    assert len(str(caught.value)) < 1000


def test_checkpoints_never_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that holds anything but tensors is refused before it can do anything."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    monkeypatch.setattr(import_open_clip().factory, "_MODEL_CONFIGS", {"tiny": MODEL_CONFIG})
    checkpoint = tmp_path / "epoch.pt"
    checkpoint.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(WeightsUnavailable, match="is no readable checkpoint"):
        load_model(parse_encoder(f"tiny/{checkpoint}"))
    assert not (tmp_path / "exploded").exists()


def test_a_training_checkpoint_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What open_clip's training writes (epoch, name, state_dict with `module.`) loads, labelled by its file."""
    torch = import_torch()
    folder = write_tiny_encoder(tmp_path / "tiny")
    tensors = load_model(parse_encoder(f"local-dir:{folder}")).model.state_dict()
    state = {f"module.{name}": value for name, value in tensors.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, tmp_path / "epoch_3.pt")
    monkeypatch.setattr(import_open_clip().factory, "_MODEL_CONFIGS", {"tiny": MODEL_CONFIG})
    from_file = load_towers(parse_encoder(f"tiny/{tmp_path / 'epoch_3.pt'}"), device="cpu", precision="fp32").encoder
    from_folder = load_towers(parse_encoder(f"local-dir:{folder}"), device="cpu", precision="fp32").encoder
    assert (from_file.model_name, from_file.pretrained, from_file.weights_origin) == (
        "tiny",
        "epoch_3.pt",
        "checkpoint",
    )
    assert from_file.fingerprint == from_folder.fingerprint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("{}", "no open_clip config"),
        ("{", "no open_clip config"),
        ("[]", "no open_clip config"),
    ],
)
def test_folders_need_a_config(tmp_path: Path, content: str | None, reason: str) -> None:
    """A folder without a usable open_clip_config.json is refused, and the sentence names the file."""
    if content is not None:
        (tmp_path / "open_clip_config.json").write_text(content)
    with pytest.raises(WeightsUnavailable, match=f"open_clip_config.json .*{reason}"):
        load_model(parse_encoder(f"local-dir:{tmp_path}"))


def test_a_folder_without_weights_is_never_random(tmp_path: Path) -> None:
    """open_clip would take random weights for a folder without a checkpoint; here it is refused."""
    folder = write_tiny_encoder(tmp_path / "tiny")
    checkpoint = folder / "open_clip_model.safetensors"
    for name in ("first.safetensors", "second.safetensors"):
        (folder / name).hardlink_to(checkpoint)
    checkpoint.unlink()
    with pytest.raises(WeightsUnavailable, match=r"holds several \(first.safetensors, second.safetensors\)"):
        find_weights(parse_encoder(f"local-dir:{folder}"))
    (folder / "first.safetensors").unlink()
    assert find_weights(parse_encoder(f"local-dir:{folder}")).checkpoint == folder / "second.safetensors"
    (folder / "second.safetensors").unlink()
    with pytest.raises(WeightsUnavailable, match="holds none"):
        find_weights(parse_encoder(f"local-dir:{folder}"))
