"""What makes the image tower faster changes no vector by more than rounding, and is refused where it would."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.encoders import ImageTower, Towers, load_towers, parse_encoder
from embed.encoders.model import load_model
from embed.encoders.torchvision_shim import import_open_clip, import_torch, quiet
from store.errors import UsageError
from tests.embedding import all_rows, embed, embed_command


@pytest.fixture
def towers(tiny_encoder: Path) -> Towers:
    """The tiny model, for this test alone."""
    return load_towers(parse_encoder(f"local-dir:{tiny_encoder}"), device="cpu", precision="fp32")


def noise(tower: ImageTower, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return pictures of noise."""
    return np.random.default_rng(3).integers(0, 256, (count, *tower.input_shape), np.uint8)


def not_compiled(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[dict[str, Any]]:
    """Let `torch.compile` hand out `answer` (None: what it was given); return what it is asked with."""
    asked: list[dict[str, Any]] = []

    def compile_(work: object, **options: Any) -> object:
        asked.append(options)
        return answer or work

    monkeypatch.setattr(import_torch(), "compile", compile_)
    return asked


@pytest.mark.slow  # a C++ compiler works for many seconds
def test_compiled_tower_is_the_same_encoder(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each vector of torch.compile has cosine >= 0.999 with the plain one, and a short last batch compiles nothing."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch = import_torch()
    loaded = load_model(parse_encoder(f"local-dir:{tiny_encoder}"))
    del loaded.model.visual.transformer.resblocks[1:]
    tower = ImageTower(loaded, torch.device("cpu"), "fp32")
    pictures = noise(tower, 11)
    plain = tower.encode(pictures).astype(np.float32)
    torch._dynamo.utils.counters.clear()
    tower.compile(8, "inductor" if shutil.which("g++") else "aot_eager")
    compiled = np.concatenate([tower.encode(pictures[:8]), tower.encode(pictures[8:])]).astype(np.float32)
    assert (plain * compiled).sum(axis=1).min() >= 0.999
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]


def test_short_batch_is_filled_up(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once compiled, the model sees batches of one size alone, and only the vectors of real pictures come back."""
    tower, sizes = towers.image, []
    embed_plain = tower._embed

    def seen(pixels: object) -> object:
        sizes.append(len(pixels))  # type: ignore[arg-type]
        return embed_plain(pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(tower, "_embed", seen)
    asked = not_compiled(monkeypatch, None)
    tower.compile(4)
    assert [tower.encode(noise(tower, count)).shape[0] for count in (4, 1, 0)] == [4, 1, 0]
    assert set(sizes) == {4}
    assert [one["dynamic"] for one in asked] == [False]
    with pytest.raises(ValueError, match="compiled for 4 pictures, got 5"):
        tower.encode(noise(tower, 5))


def test_option_compiles_once_and_says_how_long(
    photos: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--compile` belongs to a job and not to its encoder: the store goes on; compiling has a stage of its own."""
    asked = not_compiled(monkeypatch, None)
    store = tmp_path / "store"
    result = embed_command(photos, store, tiny_encoder, "--limit", "3", "--batch-size", "1", "--compile")
    assert (result.exit_code, len(asked)) == (0, 1), result.output
    assert "compile " in result.stdout.partition("Time by stage")[2]
    embed(photos, store, tiny_encoder)
    embed(photos, tmp_path / "plain", tiny_encoder)
    assert all_rows(store) == all_rows(tmp_path / "plain")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("No working C++ compiler found\nand forty lines more"), "No working C++ compiler found"),
        (subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c"]), "Command '['gcc', 'cuda_utils.c']' returned"),
    ],
    ids=["torch", "triton"],
)
def test_compiler_that_fails_is_named(
    photos: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, *, error: Exception, said: str
) -> None:
    """Where nothing can be compiled, one sentence says so before an image is read."""

    def missing(_: object) -> None:
        raise error

    not_compiled(monkeypatch, missing)
    result = embed_command(photos, tmp_path / "store", tiny_encoder, "--compile")
    assert result.exit_code == UsageError.exit_code
    assert f"cannot be compiled here ({said}" in result.stderr
    assert "forty lines more" not in result.stderr
    assert "Leave out --compile." in result.stderr


def test_compiled_tower_that_differs_is_refused(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors that are not the encoder's own are noticed before the first image."""
    not_compiled(monkeypatch, lambda pixels: -towers.image._rounded(pixels))
    with pytest.raises(UsageError, match=r"one vector has cosine -1\.0"):
        towers.image.compile(2)


def test_convolutions_run_channels_last(towers: Towers) -> None:
    """A tower of convolutions lies channels-last, with its vectors; a ViT, whose patches are its only one, does not."""
    torch = import_torch()
    with quiet():
        vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
        text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
        model = import_open_clip().CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    model.visual.preprocess_cfg = dict(towers.image._model.visual.preprocess_cfg)
    pictures = noise(towers.image, 4)
    loaded = type("Loaded", (), {"model": model, "config": {"embed_dim": 32}})
    tower = ImageTower(loaded, torch.device("cpu"), "fp32")  # type: ignore[arg-type]
    last = tower.encode(pictures).astype(np.float32)
    assert model.visual.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert towers.image._model.visual.conv1.weight.is_contiguous()
    model.visual.to(memory_format=torch.contiguous_format)
    assert (tower.encode(pictures).astype(np.float32) * last).sum(axis=1).min() >= 0.999
