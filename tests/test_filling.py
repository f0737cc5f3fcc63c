"""Weights are written once, and the model is what it was when they were drawn, read and copied."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embed.encoders import TextTower, parse_encoder
from embed.encoders.filling import parameters_left_empty
from embed.encoders.model import load_model
from embed.encoders.torchvision_shim import import_open_clip, import_torch, import_transformers, quiet
from store.errors import WeightsUnavailable
from tests.tiny_encoder import MODEL_CONFIG, write_tiny_encoder

TIMM_CONFIG = {
    **MODEL_CONFIG,
    "vision_cfg": {"timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
}
"""An image tower of the timm library, which is loaded for it: convolutions, and batch norms with buffers."""


def stored(folder: Path, state: dict[str, Any]) -> str:
    """Put `state` into the place of a folder's weights, and return the words for it."""
    (folder / "open_clip_model.safetensors").unlink(missing_ok=True)
    import_torch().save(state, folder / "open_clip_pytorch_model.bin")
    return f"local-dir:{folder}"


def test_parameters_left_empty_are_not_drawn() -> None:
    """No random number is drawn for a parameter, and buffers have their values."""
    torch = import_torch()
    nn = torch.nn
    before = torch.get_rng_state()
    with parameters_left_empty():
        parts = [nn.Linear(9, 9), nn.Embedding(9, 9), nn.MultiheadAttention(8, 2), nn.Conv2d(3, 4, 2)]
        for draw in (nn.init.normal_, nn.init.xavier_uniform_, nn.init.kaiming_normal_, nn.init.ones_):
            draw(parts[0].weight)
        norm = nn.BatchNorm2d(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(norm.running_var, torch.ones(5))
    nn.Linear(9, 9)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("config", [MODEL_CONFIG, TIMM_CONFIG], ids=["plain", "timm"])
@pytest.mark.parametrize(
    "written",
    [
        lambda tensor: tensor,
        lambda tensor: tensor.half() if tensor.is_floating_point() else tensor,
        lambda tensor: tensor.t().contiguous().t() if tensor.ndim == 2 else tensor,
        lambda tensor: import_torch().stack([tensor, tensor])[1],
    ],
    ids=["as it is", "half", "transposed", "part of a larger one"],
)
def test_a_model_holds_what_its_file_holds(
    tmp_path: Path, config: dict[str, Any], written: Callable[[Any], Any]
) -> None:
    """Each tensor has the file's values in float32, dense and in memory of its own, however the file holds it."""
    torch = import_torch()
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with quiet():
        state = import_open_clip().create_model(f"local-dir:{tmp_path}", load_weights=False).state_dict()
    state = {name: written(tensor) for name, tensor in state.items()}
    loaded = load_model(parse_encoder(stored(tmp_path, state))).model
    found = loaded.state_dict()
    assert found.keys() == state.keys()
    for name, tensor in found.items():
        assert tensor.dtype == (torch.float32 if tensor.is_floating_point() else torch.int64)
        assert torch.equal(tensor, state[name].to(tensor.dtype))
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert "load_state_dict" not in vars(loaded)


def test_a_text_tower_of_the_transformers_library_is_its_own(tmp_path: Path) -> None:
    """A model whose texts go through BERT is what it is where transformers was loaded before: here it comes late."""
    pytest.importorskip("transformers")
    torch, open_clip = import_torch(), import_open_clip()
    bert = import_transformers().BertConfig(
        vocab_size=49408, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    bert.save_pretrained(tmp_path / "bert")
    text = {"hf_model_name": str(tmp_path / "bert"), "hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"}
    config = {**MODEL_CONFIG, "custom_text": True, "text_cfg": {**text, "context_length": 16}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with quiet():
        plain = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=False, pretrained_text=False).eval()
    words = stored(tmp_path, plain.state_dict())
    with torch.inference_mode():
        expected = plain.encode_text(open_clip.get_tokenizer(words)(["a dog", "two cats"]), normalize=True)
    found = TextTower(load_model(parse_encoder(words)), torch.device("cpu")).encode(["a dog", "two cats"])
    torch.testing.assert_close(torch.from_numpy(found), expected)


@pytest.mark.parametrize("spoiled", ["missing", "surplus", "shape", "kind"])
def test_every_parameter_must_be_in_the_file(tmp_path: Path, spoiled: str) -> None:
    """A file that lacks one tensor, holds one too many, one of another shape or what is none is refused."""
    folder = write_tiny_encoder(tmp_path / "tiny")
    state = dict(load_model(parse_encoder(f"local-dir:{folder}")).model.state_dict())
    name = "ln_final.bias"
    tensor = state.pop(name)
    if spoiled != "missing":
        other = {"surplus": tensor, "shape": tensor[:-1].clone(), "kind": [1.0]}[spoiled]
        state |= {name: tensor, f"{name}_too": tensor} if spoiled == "surplus" else {name: other}
    with pytest.raises(WeightsUnavailable, match=r"are not those of this model|is no readable checkpoint"):
        load_model(parse_encoder(stored(folder, state)))


def test_a_files_later_fate_changes_no_weight(tmp_path: Path) -> None:
    """A model that is loaded does not depend on its file: overwritten in place, it changes nothing."""
    folder = write_tiny_encoder(tmp_path / "tiny")
    torch = import_torch()
    for name in ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"):
        loaded = load_model(parse_encoder(f"local-dir:{folder}")).model
        before = {key: tensor.clone() for key, tensor in loaded.state_dict().items()}
        file = folder / name
        with file.open("r+b") as opened:
            opened.write(b"\xff" * file.stat().st_size)
        assert all(torch.equal(tensor, before[key]) for key, tensor in loaded.state_dict().items())
        stored(folder, before)
