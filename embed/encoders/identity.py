"""What makes two encoders the same: hashes over architecture and weights, and the record that the store keeps."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from embed.encoders.model import LoadedModel, Model
from embed.encoders.spec import EncoderSpec
from embed.encoders.torchvision_shim import import_open_clip, import_torch
from store.encoder import Encoder


def describe(spec: EncoderSpec, loaded: LoadedModel, precision: str, decode_mode: str) -> Encoder:
    """Return the record of a model that is still in float32, as its vectors will be made in `precision`."""
    import PIL  # noqa: PLC0415 - optional, as everything of pass 1

    return Encoder(
        model_name=spec.model_name,
        pretrained=loaded.pretrained,
        weights_origin=spec.origin,
        torch_version=str(import_torch().__version__),
        pillow_version=PIL.__version__,
        architecture_sha256=architecture_sha256(loaded.config),
        weights_sha256=weights_sha256(loaded.model.state_dict()),
        embedding_dim=int(loaded.config["embed_dim"]),
        logit_scale=logit_scale(loaded.model),
        precision=precision,
        preprocessing=describe_preprocessing(loaded.model),
        decode_mode=decode_mode,
        open_clip_version=import_open_clip().__version__,
    )


def describe_preprocessing(model: Model) -> dict[str, Any]:
    """Return how pixels are prepared, in open_clip's own settings."""
    settings: dict[str, Any] = json.loads(json.dumps(model.visual.preprocess_cfg))  # JSON has lists, no tuples
    return settings


def architecture_sha256(config: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of a model config as canonical JSON."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def weights_sha256(state_dict: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of tensors in order of their names: name, type, shape and bytes, floats as float32.

    Reads the tensors where they lie; only one that is not contiguous float32 on the CPU is copied.
    """
    torch = import_torch()
    digest = hashlib.sha256()
    for name, tensor in sorted(state_dict.items()):
        values = tensor.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).contiguous()
        digest.update(f"{name}\0{values.dtype}\0{tuple(values.shape)}\0".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def logit_scale(model: Model) -> float:
    """Return exp(model.logit_scale) to the four decimals that a float32 logarithm can carry at 100."""
    return round(math.exp(model.logit_scale.item()), 4)
