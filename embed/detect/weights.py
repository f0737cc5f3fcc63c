"""Where a local detector's files lie on this machine: a folder, or a repository of the hub in its cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from embed.encoders.hub import HubUnavailable, cache_folder, hub_file
from store.errors import WeightsUnavailable

PUBLISHED: Final = {"owlv2": "google/owlv2-base-patch16-ensemble", "owlvit": "google/owlvit-base-patch32"}

_CONFIG: Final = "config.json"
# Any one of each row will do; preferred ones first. Without the tokenizer's own config, padding would be another token.
_NEEDED: Final = (
    ("model.safetensors", "pytorch_model.bin"),
    ("preprocessor_config.json", "processor_config.json"),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json"),
)
_BESIDE: Final[Mapping[str, str]] = {"vocab.json": "merges.txt"}


def find_folder(kind: str, weights: str | None) -> tuple[Path, str]:
    """Return the folder that holds everything of a detector, downloaded where needed, and its name for people.

    `weights` is a folder, with or without `local-dir:` before it, or a hub id. Raise WeightsUnavailable, in one
    sentence and within seconds, where they cannot be had.
    """
    words = weights or PUBLISHED[kind]
    path = Path(words.removeprefix("local-dir:")).expanduser()
    if words.startswith(("local-dir:", "/", ".", "~")) or path.exists():
        return _checked(words, path), path.resolve().name
    try:
        return _from_hub(words.removeprefix("hf-hub:")), words.removeprefix("hf-hub:")
    except HubUnavailable as error:
        raise unavailable(words, str(error)) from None


def unavailable(words: str, reason: str) -> WeightsUnavailable:
    """Return one sentence: which weights, why not, and the ways out."""
    return WeightsUnavailable(
        f"The detector {words} cannot be used:",
        f"{reason};",
        f"give a local copy (--weights /path/to/folder), or fill the cache {cache_folder()} on a machine with a network"
        " and bring it here (HF_HOME says where it lies).",
    )


def _checked(words: str, folder: Path) -> Path:
    for names in ((_CONFIG,), *_NEEDED):
        if not any((folder / name).is_file() for name in names):
            raise unavailable(words, f"{folder} holds no {' or '.join(names)}")
    return folder


def _from_hub(repository: str) -> Path:
    """Fetch every file of one commit; huggingface_hub puts them into one folder."""
    config = hub_file(repository, [_CONFIG])
    commit = config.parent.name
    for names in _NEEDED:
        found = hub_file(repository, names, commit)
        if found.name in _BESIDE:
            hub_file(repository, [_BESIDE[found.name]], commit)
    return config.parent
