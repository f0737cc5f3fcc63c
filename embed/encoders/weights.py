"""Where an encoder's weights lie on this machine: found in a cache or a folder, or downloaded."""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embed.encoders.hub import HubUnavailable, cache_folder, hub_file
from embed.encoders.spec import EncoderSpec, needs_quick_gelu
from embed.encoders.torchvision_shim import import_open_clip
from store.errors import MissingExtra, WeightsUnavailable

CONFIG_NAME = "open_clip_config.json"
# open_clip's names, preferred one first: https://github.com/mlfoundations/open_clip/blob/main/src/open_clip/constants.py
CHECKPOINT_NAMES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_FOLDER_NAMES = (
    *CHECKPOINT_NAMES,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)


@dataclass(frozen=True)
class Weights:
    """Everything that open_clip needs to build one model; all of it lies on this machine."""

    source: str  # open_clip's model name, or "local-dir:" and a folder with a config
    tokenizer: str  # the same for open_clip.get_tokenizer, which looks elsewhere for an hf-hub
    config: Mapping[str, Any]  # the final model config, "quick_gelu" always present
    checkpoint: Path | None  # None means random weights, wanted by name
    preprocessing: Mapping[str, Any] = field(default_factory=dict)  # the tag's, over the model's own


def find_weights(spec: EncoderSpec) -> Weights:
    """Return the local files of `spec`, downloaded where needed.

    Raises WeightsUnavailable, in one sentence and within seconds, where they cannot be had.
    """
    try:
        return _FINDERS[spec.origin](spec)
    except HubUnavailable as error:
        raise unavailable(spec, str(error)) from None


def unavailable(spec: EncoderSpec, reason: str) -> WeightsUnavailable:
    """Return one sentence: which weights, why not, and the two ways out."""
    is_folder = spec.origin in {"hf-hub", "local-dir"}
    local = "local-dir:/path/to/folder" if is_folder else f"{spec.model_name}/path/to/file.pt"
    return WeightsUnavailable(
        f"The weights of {spec.words} cannot be used:",
        f"{reason};",
        f"give a local copy (--encoder {local}), or fill the cache {cache_folder()} on a machine with a network and"
        " bring it here (HF_HOME says where it lies).",
    )


def _random(spec: EncoderSpec) -> Weights:
    return Weights(spec.model_name, spec.model_name, _registered_config(spec.model_name), None)


def _checkpoint(spec: EncoderSpec) -> Weights:
    path = Path(spec.location)
    if not path.is_file():
        raise unavailable(spec, f"there is no file {path}")
    return Weights(spec.model_name, spec.model_name, _registered_config(spec.model_name), path)


def _pretrained(spec: EncoderSpec) -> Weights:
    tag = import_open_clip().get_pretrained_cfg(spec.model_name, spec.pretrained)
    config = _registered_config(spec.model_name)
    config["quick_gelu"] = needs_quick_gelu(spec.model_name, config, tag)
    repository, _, name = tag.get("hf_hub", "").rpartition("/")
    if not repository:
        raise unavailable(spec, "open_clip names no Hugging Face repository for this tag")
    names = (f"{name.rpartition('.')[0]}.safetensors", name) if name else CHECKPOINT_NAMES
    _fetch_text_parts(config)
    return Weights(spec.model_name, spec.model_name, config, hub_file(repository, names), preprocessing=tag)


def _local_dir(spec: EncoderSpec) -> Weights:
    folder = Path(spec.location)
    config = _read_config(spec, folder / CONFIG_NAME)
    source = f"local-dir:{folder}"
    return Weights(source, source, config, _checkpoint_in(spec, folder))


def _hf_hub(spec: EncoderSpec) -> Weights:
    """Load a repository as the folder that it has in the cache, all of it from one commit."""
    config_path = hub_file(spec.location, [CONFIG_NAME])
    commit = config_path.parent.name
    config = _read_config(spec, config_path)
    checkpoint = hub_file(spec.location, CHECKPOINT_NAMES, commit)
    config["quick_gelu"] = config["quick_gelu"] or _recorded_quick_gelu(spec.location)
    _fetch_text_parts(config)
    source = f"local-dir:{config_path.parent}"
    own_tokenizer = "hf_tokenizer_name" in config.get("text_cfg", {})
    return Weights(source, spec.words if own_tokenizer else source, config, checkpoint)


_FINDERS = {
    "random": _random,
    "checkpoint": _checkpoint,
    "pretrained": _pretrained,
    "local-dir": _local_dir,
    "hf-hub": _hf_hub,
}


def _registered_config(model_name: str) -> dict[str, Any]:
    config: dict[str, Any] = import_open_clip().get_model_config(model_name)
    return {"quick_gelu": False, **config}


def _read_config(spec: EncoderSpec, path: Path) -> dict[str, Any]:
    try:
        return {"quick_gelu": False, **json.loads(path.read_bytes())["model_cfg"]}
    except OSError as error:
        raise unavailable(spec, f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise unavailable(spec, f"{path} is no open_clip config with a model_cfg") from error


def _checkpoint_in(spec: EncoderSpec, folder: Path) -> Path:
    for name in _FOLDER_NAMES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin", ".pth", ".pt"})
    if len(others) == 1:
        return others[0]
    found = f"holds several ({', '.join(path.name for path in others)})" if others else "holds none"
    raise unavailable(spec, f"{folder} must hold one checkpoint, such as {CHECKPOINT_NAMES[0]}, and {found}")


def _recorded_quick_gelu(repository: str) -> bool:
    """Return whether open_clip records QuickGELU for the weights of this repository, should its config forget it."""
    open_clip = import_open_clip()
    tags = (open_clip.get_pretrained_cfg(model, tag) for model, tag in open_clip.list_pretrained())
    return any(tag.get("quick_gelu", False) for tag in tags if tag.get("hf_hub", "").rpartition("/")[0] == repository)


def _fetch_text_parts(config: Mapping[str, Any]) -> None:
    """Fetch what a text tower or a tokenizer of the transformers library asks the hub for, to say its lack at once.

    Raises MissingExtra where that library is not installed.
    """
    text = config.get("text_cfg", {})
    wanted = {"hf_tokenizer_name": "tokenizer_config.json", "hf_model_name": "config.json"}
    for key, name in wanted.items():
        if text.get(key):
            _need_transformers(text[key])
            hub_file(text[key], [name])


def _need_transformers(name: str) -> None:
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtra(
            f"The text side of this model is {name}, which needs the transformers library.",
            do="Install it with: pip install transformers",
        )
