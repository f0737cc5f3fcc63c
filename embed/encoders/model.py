"""A checkpoint on this machine becomes an open_clip model in float32 on the CPU."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

from embed.encoders.filling import parameters_left_empty, tensors_taken_over
from embed.encoders.spec import EncoderSpec
from embed.encoders.torchvision_shim import import_open_clip, import_torch, quiet
from embed.encoders.weights import Weights, find_weights, unavailable
from store.errors import WeightsUnavailable

Model: TypeAlias = Any  # an open_clip model; open_clip ships no types

RANDOM_SEED = 0  # one seed for ever: two runs with random weights are one encoder

# What open_clip, torch.load and safetensors raise for a file that is no checkpoint, or not this model's.
_BAD_CHECKPOINT = (
    AttributeError, EOFError, IndexError, KeyError, OSError, RuntimeError, StopIteration, TypeError, UnpicklingError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """An open_clip model in float32 on the CPU, in evaluation mode, and what belongs to it."""

    model: Model
    tokenizer: Any
    config: Mapping[str, Any]  # the final model config, activation included
    pretrained: str  # the label for the encoder's record: a tag, a checkpoint's file name or "random"


def load_model(spec: EncoderSpec) -> LoadedModel:
    """Build the model of `spec`; raise WeightsUnavailable where its weights are missing, corrupt or another model's."""
    weights = find_weights(spec)
    with quiet():
        with parameters_left_empty() if _fills_all(weights.checkpoint) else nullcontext():
            model = _build(spec, weights)
        if weights.checkpoint is not None:
            _fill(spec, model, weights.checkpoint)
        tokenizer = import_open_clip().get_tokenizer(weights.tokenizer)
    model.eval().requires_grad_(requires_grad=False)
    label = spec.pretrained or (weights.checkpoint.name if weights.checkpoint else "random")
    return LoadedModel(model, tokenizer, weights.config, label)


def _build(spec: EncoderSpec, weights: Weights) -> Model:
    """Build the architecture with random weights from our own seed; the caller's random numbers are not disturbed."""
    torch = import_torch()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(RANDOM_SEED)  # torch.manual_seed would reach the GPU's generators too
        try:
            return import_open_clip().create_model(
                weights.source,
                load_weights=False,
                pretrained_text=False,
                force_quick_gelu=weights.config["quick_gelu"],
                force_preprocess_cfg=dict(weights.preprocessing),
            )
        except _BAD_CHECKPOINT as error:
            raise unavailable(spec, f"open_clip cannot build the model ({_first_words(error)})") from error


def _fills_all(checkpoint: Path | None) -> bool:
    """Whether a checkpoint is loaded as a state dict, strictly; what open_clip does with numpy's files is not."""
    return checkpoint is not None and checkpoint.suffix not in {".npz", ".npy"}


def _fill(spec: EncoderSpec, model: Model, checkpoint: Path) -> None:
    from safetensors import SafetensorError  # noqa: PLC0415 - comes with open_clip, which is optional

    is_mapped = checkpoint.suffix == ".safetensors"  # the file's pages, which change with it, and lie anyhow
    try:
        with nullcontext() if is_mapped else tensors_taken_over(model):
            import_open_clip().load_checkpoint(model, str(checkpoint), strict=True, weights_only=True)
    except (*_BAD_CHECKPOINT, SafetensorError) as error:
        raise _unfit(spec, checkpoint, error) from error


def _unfit(spec: EncoderSpec, checkpoint: Path, error: Exception) -> WeightsUnavailable:
    text = str(error)
    if spec.origin in {"pretrained", "hf-hub"}:  # .../models--org--name/snapshots/commit/file
        return unavailable(
            spec,
            f"the cached {checkpoint} is damaged or another model's ({_first_words(error)}); delete the folder"
            f" {checkpoint.parents[2]} to download it again",
        )
    if "Error(s) in loading state_dict" in text or "size mismatch" in text:
        return unavailable(spec, f"the tensors in {checkpoint} are not those of this model ({_first_words(error)})")
    if "TorchScript" in text:
        return unavailable(spec, f"{checkpoint} is a TorchScript archive, which holds code; a state dict is needed")
    return unavailable(spec, f"{checkpoint} is no readable checkpoint ({_first_words(error)})")


def _first_words(error: Exception, length: int = 160) -> str:
    """Return an error's kind and the start of its text on one line: torch's run to thousands of lines."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:length]}{'…' if len(words) > length else ''}"
