"""The words of `--encoder`: which model, and where its weights come from."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from embed.encoders.torchvision_shim import import_open_clip
from store.errors import UnknownName, UsageError

Origin: TypeAlias = Literal["pretrained", "checkpoint", "local-dir", "hf-hub", "random"]

DEMO: Final = "demo"
"""The encoder that comes along: it understands the demonstration's drawn scenes and nothing else."""

_DEMO_FOLDER = Path(__file__).resolve().parents[1] / "demo" / "encoder"
_QUICKGELU = "-quickgelu"
_CHECKPOINT_SUFFIXES = {".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".npz"}
_LIST = "python -c \"from embed.encoders import list_encoders; print(*list_encoders(), sep='\\n')\""


@dataclass(frozen=True)
class EncoderSpec:
    """An open_clip model and the place of its weights; nothing has been loaded yet."""

    model_name: str  # open_clip's name; the folder's name of a `local-dir:`; "org/name" of an `hf-hub:`
    pretrained: str | None  # open_clip's tag; None for every other origin
    origin: Origin
    location: str = ""  # absolute path of a checkpoint or a local-dir, repository of an hf-hub, else empty

    @property
    def words(self) -> str:
        """Return the words that name this encoder on the command line."""
        if self.origin in {"local-dir", "hf-hub"}:
            return f"{self.origin}:{self.location}"
        weights = self.pretrained or self.location
        return f"{self.model_name}/{weights}" if weights else f"{self.model_name} --random-weights"


def parse_encoder(text: str, *, random_weights: bool = False) -> EncoderSpec:
    """Read the words of `--encoder`.

    `demo`, `MODEL/TAG`, `MODEL/path/to/checkpoint.pt` (absolute: `MODEL//path`), `local-dir:/path`, `hf-hub:org/name`,
    or a bare `MODEL` with `random_weights`.

    Raises UnknownName for a model, tag or checkpoint file that does not exist, and UsageError where the words leave
    open which weights are meant: open_clip itself would fall back to random ones without an error.
    """
    if text == DEMO:
        _refuse_random(text, random_weights=random_weights)
        return EncoderSpec(DEMO, None, "local-dir", str(_DEMO_FOLDER))
    scheme, _, rest = text.partition(":")
    if scheme in {"local-dir", "hf-hub"}:
        _refuse_random(text, random_weights=random_weights)
        return _local_dir(rest) if scheme == "local-dir" else _hf_hub(rest)
    model_name, _, weights = text.partition("/")
    _check_model(model_name)
    if weights:
        _refuse_random(text, random_weights=random_weights)
        return _with_weights(model_name, weights)
    if not random_weights:
        raise UsageError(
            f"{model_name} names no weights.",
            "Without trained weights no score means anything.",
            f"Write {_choices(model_name)}, or ask for random weights with --random-weights to rehearse a run.",
        )
    return EncoderSpec(model_name, None, "random")


def list_encoders() -> list[str]:
    """Return every `MODEL/TAG` that open_clip can load, in its own order."""
    return [f"{model}/{tag}" for model, tag in import_open_clip().list_pretrained()]


def needs_quick_gelu(model_name: str, config: Mapping[str, Any], tag: Mapping[str, Any] | None) -> bool:
    """Decide the activation: True where the weights were trained with QuickGELU.

    `config` is the model's config and `tag` open_clip's record of the weights, None where it has none. The record
    decides, because the wrong activation gives vectors that look fine and are not
    (https://github.com/mlfoundations/open_clip#pretrained-models). Raises UsageError where the model asks for QuickGELU
    and the weights were trained without it.
    """
    by_config = bool(config.get("quick_gelu", False))
    if tag is None:
        return by_config
    by_weights = bool(tag.get("quick_gelu", False))
    if by_config and not by_weights:
        raise UsageError(
            f"The model {model_name} uses QuickGELU, and by open_clip's record its weights were trained without it.",
            "The wrong activation gives wrong vectors that look right.",
            f"Use hf-hub:{str(tag.get('hf_hub', '')).strip('/')}, whose own config says which activation is right.",
        )
    return by_weights


def _refuse_random(text: str, *, random_weights: bool) -> None:
    if random_weights:
        raise UsageError(
            f"--random-weights contradicts {text}, which names weights.",
            do="Leave out --random-weights, or name only the model.",
        )


def _local_dir(path: str) -> EncoderSpec:
    if not path:
        raise UsageError("local-dir: names no folder.", do="Write local-dir:/path/to/folder.")
    folder = Path(path).expanduser().resolve()
    return EncoderSpec(folder.name, None, "local-dir", str(folder))


def _hf_hub(repository: str) -> EncoderSpec:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"hf-hub:{repository} names no repository.", do="Write hf-hub:organisation/name.")
    return EncoderSpec(repository, None, "hf-hub", repository)


def _check_model(model_name: str) -> None:
    known = import_open_clip().list_models()
    if model_name not in known:
        raise UnknownName(
            f"open_clip knows no model {model_name!r}.",
            _nearest(model_name, known),
            f"List models and tags with: {_LIST}",
        )


def _with_weights(model_name: str, weights: str) -> EncoderSpec:
    tag = weights.lower().replace("-", "_")  # open_clip reads tags in this form
    if tag in _tags(model_name):
        return EncoderSpec(model_name, tag, "pretrained")
    path = Path(weights).expanduser()
    if path.is_file():
        return EncoderSpec(model_name, None, "checkpoint", str(path.resolve()))
    if "/" in weights or path.suffix in _CHECKPOINT_SUFFIXES:
        raise UnknownName(
            f"There is no checkpoint file {str(path)!r}.",
            do=f"Give a file that exists ({model_name}//absolute/path.pt), or a tag: {_choices(model_name)}.",
        )
    _refuse_quickgelu_twin(model_name, tag)
    raise UnknownName(
        f"{model_name} has no weights {weights!r}.",
        _nearest(tag, _tags(model_name)),
        f"List models and tags with: {_LIST}",
    )


def _refuse_quickgelu_twin(model_name: str, tag: str) -> None:
    """Say why `X-quickgelu/tag` is refused where `X/tag` exists: its weights were trained with plain GELU."""
    twin = model_name.removesuffix(_QUICKGELU)
    if twin != model_name and tag in _tags(twin):
        raise UsageError(
            f"The weights {tag} were trained without QuickGELU, and {model_name} uses it.",
            "The wrong activation gives wrong vectors that look right.",
            f"Use {twin}/{tag}.",
        )


def _tags(model_name: str) -> list[str]:
    tags: list[str] = import_open_clip().list_pretrained_tags_by_model(model_name)
    return tags


def _nearest(name: str, known: Iterable[str]) -> str:
    by_folded = {candidate.lower(): candidate for candidate in known}
    near = [by_folded[match] for match in difflib.get_close_matches(name.lower(), by_folded, n=4, cutoff=0.5)]
    return f"The nearest: {', '.join(near)}." if near else "Nothing has a name close to it."


def _choices(model_name: str) -> str:
    words = [f"{model_name}/{tag}" for tag in _tags(model_name)[:3]]
    return " or ".join([*words, f"{model_name}/path/to/checkpoint.pt"])
