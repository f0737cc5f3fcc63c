"""The two towers of an encoder: pixels and texts become L2-normalised vectors that can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embed.encoders.device import choose_device, choose_precision, device_label, nearest_precision
from embed.encoders.identity import architecture_sha256, describe, describe_preprocessing, weights_sha256
from embed.encoders.image_tower import ImageTower
from embed.encoders.model import LoadedModel, Model, load_model
from embed.encoders.spec import DEMO, EncoderSpec, parse_encoder
from embed.encoders.torchvision_shim import import_open_clip, import_torch
from store.encoder import Encoder
from store.errors import UsageError, WrongEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever its case

_TEXTS_AT_ONCE = 256


class TextTower:
    """The text side of a model: always float32, with open_clip's own tokenizer."""

    def __init__(self, loaded: LoadedModel, device: "Device") -> None:
        """Use the model where it lies: on `device`, its text side in float32."""
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, device
        self._embedding_dim = int(loaded.config["embed_dim"])
        self._looks_only_back = _looks_only_back(loaded.model)

    def encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Encode N texts as (N, D) float32, rows L2-normalised, in the order given.

        A text longer than the model's context (77 tokens for most) is cut there, as open_clip does.
        """
        starts = range(0, len(texts), _TEXTS_AT_ONCE)
        blocks = [self._encode(texts[start : start + _TEXTS_AT_ONCE]) for start in starts]
        return np.concatenate([np.empty((0, self._embedding_dim), np.float32), *blocks])

    def _encode(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        torch = import_torch()
        with torch.inference_mode():
            features = self._features(self._tokenizer(list(texts)).to(self._device))
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
            return vectors

    def _features(self, tokens: "Tensor") -> "Tensor":
        """Turn (B, context) tokens into (B, D) features, without the padding that no token sees.

        A caption fills an eighth of CLIP's 77 tokens. What comes out differs by less than batches of other sizes do.
        """
        if not self._looks_only_back:
            features: Tensor = self._model.encode_text(tokens)
            return features
        used = int(tokens.argmax(dim=-1).max()) + 1  # the answer is that of the end's token, the greatest number
        shorter = {
            "positional_embedding": self._model.positional_embedding[:used],
            "attn_mask": self._model.attn_mask[:used, :used],
        }
        _, features, *_ = import_torch().func.functional_call(self._model, shorter, (None, tokens[:, :used]))
        return features


def _looks_only_back(model: Model) -> bool:
    """Whether no token of a text sees a later one, and the end's token answers: open_clip's plain CLIP, as a rule."""
    is_plain = type(model) is import_open_clip().CLIP and not model.output_dict
    return is_plain and model.attn_mask is not None and model.text_pool_type == "argmax"


@dataclass(frozen=True)
class Towers:
    """Both towers of one model, and the record that identifies their vectors."""

    encoder: Encoder
    image: ImageTower
    text: TextTower
    device: str  # for people: "cuda:0 (NVIDIA H200)", "cpu (2 threads)"


def load_towers(
    spec: EncoderSpec, *, device: str = "auto", precision: str = "auto", decode_mode: str = "auto"
) -> Towers:
    """Load a model for pass 1: the image side in `precision` (auto, fp32, bf16, fp16), the text side in float32.

    `decode_mode` names how bytes become pixels (`embed/decode.py`); auto is in full.
    Raises UsageError for a device or precision that this machine does not have, WeightsUnavailable for weights that
    cannot be found, downloaded or read, and MissingExtra where torch or open_clip is not installed.
    """
    place = choose_device(device)
    chosen = choose_precision(precision, place)
    loaded = load_model(spec)
    from embed.decode import DECODE_MODE  # noqa: PLC0415 - needs Pillow, which is optional

    encoder = describe(spec, loaded, chosen, DECODE_MODE if decode_mode == "auto" else decode_mode)
    return Towers(encoder, ImageTower(loaded, place, chosen), TextTower(loaded, place), device_label(place))


def load_text_tower(encoder: Encoder, spec: EncoderSpec | None = None) -> TextTower:
    """Load, on the CPU, the text tower of the encoder that a store holds; `spec` says where, if the record cannot.

    Raises WrongEncoder where the weights or the architecture found are not the store's (of imported vectors only the
    dimension is known), UsageError where the weights were a local file and `spec` is missing, and whatever
    `load_towers` raises for weights.
    """
    loaded = load_model(spec or _spec_of(encoder))
    _verify(encoder, loaded)
    del loaded.model.visual  # checked, and not needed for texts
    return TextTower(loaded, import_torch().device("cpu"))


def load_image_tower(encoder: Encoder, spec: EncoderSpec | None = None) -> ImageTower:
    """Load, on the CPU, the image tower of the encoder that a store holds; `spec` says where, if the record cannot.

    It runs in the store's precision where this CPU is made for it, else in float32: a difference of rounding.
    Raises what `load_text_tower` raises, and WrongEncoder where pixels are prepared in another way than the store's.
    """
    loaded = load_model(spec or _spec_of(encoder))
    _verify(encoder, loaded)
    _verify_pixels(encoder, loaded)
    device = import_torch().device("cpu")
    return ImageTower(loaded, device, nearest_precision(encoder.precision, device))


def _spec_of(encoder: Encoder) -> EncoderSpec:
    name = encoder.model_name
    if encoder.imported:
        return parse_encoder(f"hf-hub:{name}" if encoder.pretrained == "hf-hub" else f"{name}/{encoder.pretrained}")
    if name == DEMO:
        return parse_encoder(DEMO)
    if encoder.weights_origin == "pretrained":
        return parse_encoder(f"{name}/{encoder.pretrained}")
    if encoder.weights_origin == "hf-hub":
        return parse_encoder(f"hf-hub:{name}")
    if encoder.weights_origin == "random":
        return parse_encoder(name, random_weights=True)
    is_file = encoder.weights_origin == "checkpoint"
    words = f"{name}/path/to/{encoder.pretrained}" if is_file else f"local-dir:/path/to/{name}"
    raise UsageError(
        f"The store's vectors were made with local weights, {name} ({encoder.pretrained}).",
        "The store records what they are, not where they lie on this machine.",
        f"Say where: --encoder {words}",
    )


def _verify(encoder: Encoder, loaded: LoadedModel) -> None:
    if encoder.imported:
        _verify_dimension(encoder, int(loaded.config["embed_dim"]))
        return
    found = {
        "weights": (encoder.weights_sha256, weights_sha256(loaded.model.state_dict())),
        "architecture": (encoder.architecture_sha256, architecture_sha256(loaded.config)),
    }
    differing = [name for name, (stored, ours) in found.items() if stored != ours]
    if differing:
        random = (
            " Random ones also differ between kinds of CPU and versions of torch." if encoder.random_weights else ""
        )
        raise WrongEncoder(
            f"The {' and '.join(differing)} found for {encoder.model_name} ({encoder.pretrained}) are not the store's.",
            f"Vectors of two encoders cannot be compared.{random}",
            f"Give the weights that made {encoder.encoder_id}, with --encoder.",
        )


def _verify_dimension(encoder: Encoder, dim: int) -> None:
    """Raise where a model cannot have made imported vectors; that it has made them, nobody can verify."""
    if dim != encoder.embedding_dim:
        raise WrongEncoder(
            f"{encoder.model_name} ({encoder.pretrained}) makes vectors of {dim} dimensions, and the store's have "
            f"{encoder.embedding_dim}.",
            "They were imported under a name that is not theirs.",
            "Import them again under the right one, into a new store.",
        )


def _verify_pixels(encoder: Encoder, loaded: LoadedModel) -> None:
    if encoder.imported:
        return
    from embed.decode import DECODE_MODES, GPU_MODES  # noqa: PLC0415 - needs Pillow, which is optional

    ours = (describe_preprocessing(loaded.model), *DECODE_MODES.values(), *GPU_MODES.values())
    if encoder.preprocessing != ours[0] or encoder.decode_mode not in ours[1:]:
        raise WrongEncoder(
            f"The store's images were prepared in another way: {encoder.preprocessing} after {encoder.decode_mode!r}, "
            f"here {ours[0]} after {ours[1]!r}.",
            "Vectors of two encoders cannot be compared.",
            "Ask with an image that the store holds: its vector is there already.",
        )
