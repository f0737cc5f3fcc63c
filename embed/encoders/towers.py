"""The two towers of an encoder: pixels and texts become L2-normalised vectors that can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embed.encoders.device import choose_device, choose_precision, device_label, dtype_of, nearest_precision
from embed.encoders.identity import architecture_sha256, describe, describe_preprocessing, weights_sha256
from embed.encoders.model import LoadedModel, load_model
from embed.encoders.preprocessing import geometry_of, preprocessing
from embed.encoders.spec import DEMO, EncoderSpec, parse_encoder
from embed.encoders.torchvision_shim import import_torch
from store.encoder import Encoder
from store.errors import UsageError, WeightsUnavailable, WrongEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever its case

_TEXTS_AT_ONCE = 256


class ImageTower:
    """The image side of a model: pixels in, L2-normalised float16 vectors out.

    `prepare` may run in many threads at once; `encode` belongs to one.
    """

    def __init__(self, loaded: LoadedModel, device: "Device", precision: str) -> None:
        """Move the model to `device` and cast its image side, and only that, to `precision`."""
        torch = import_torch()
        self._steps, normalize = preprocessing(loaded.model)
        self.geometry = geometry_of(loaded.model, self._steps)
        """What `prepare` does, for processes without torch; None where it cannot be told without it."""
        self._model = loaded.model.to(device)
        self._device, self._dtype = device, dtype_of(precision)
        self._model.visual.to(self._dtype)
        self._mean, self._std, self._full = (
            torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
            for values in (normalize.mean, normalize.std, [255.0])
        )
        size = loaded.model.visual.preprocess_cfg["size"]
        height, width = (size, size) if isinstance(size, int) else size
        self.input_shape = (3, int(height), int(width))  # (channels, height_px, width_px)
        self.embedding_dim = int(loaded.config["embed_dim"])  # D

    def prepare(self, image: "Image") -> "NDArray[np.uint8]":
        """Resize and crop an RGB image as open_clip does: (3, H, W) uint8, without normalisation."""
        pixels = np.asarray(self._steps(image))  # (H, W, 3)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def encode(self, batch: "NDArray[np.uint8]") -> "NDArray[np.float16]":
        """Encode (B, 3, H, W) uint8 as (B, D) float16, rows L2-normalised in float32 before they are rounded.

        Raises WeightsUnavailable where the model answers with something other than finite numbers.
        """
        if batch.dtype != np.uint8 or batch.shape[1:] != self.input_shape:
            raise ValueError(f"expected (B, {self.input_shape}) uint8, got {batch.shape} {batch.dtype}")
        if not len(batch):
            return np.empty((0, self.embedding_dim), np.float16)
        vectors: NDArray[np.float16] = self._embed(batch).half().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise WeightsUnavailable(
                "The image tower answered with numbers that are not finite.",
                "Its weights are damaged, or too large for this precision.",
                "Try again with --precision fp32.",
            )
        return vectors

    def _embed(self, batch: "NDArray[np.uint8]") -> "Tensor":
        """Return the vectors as (B, D) float32 on the device, rows L2-normalised."""
        torch = import_torch()
        with torch.inference_mode():
            features = self._model.encode_image(self._normalized(batch).to(self._dtype))
            vectors: Tensor = torch.nn.functional.normalize(features.float(), dim=-1)
            return vectors

    def _normalized(self, batch: "NDArray[np.uint8]") -> "Tensor":
        """Return (B, 3, H, W) float32 on the device, bit for bit what torchvision's ToTensor and Normalize give.

        Divides by a tensor: CUDA multiplies by the reciprocal where the divisor is a Python number.
        https://github.com/pytorch/vision/blob/main/torchvision/transforms/_functional_tensor.py
        """
        torch = import_torch()
        writeable = batch if batch.flags.writeable and batch.flags.c_contiguous else batch.copy()
        pixels: Tensor = torch.from_numpy(writeable).to(self._device).to(torch.float32)
        return pixels.div_(self._full).sub_(self._mean).div_(self._std)


class TextTower:
    """The text side of a model: always float32, with open_clip's own tokenizer."""

    def __init__(self, loaded: LoadedModel, device: "Device") -> None:
        """Use the model where it lies: on `device`, its text side in float32."""
        self._model, self._tokenizer, self._device = loaded.model, loaded.tokenizer, device
        self._embedding_dim = int(loaded.config["embed_dim"])

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
            features = self._model.encode_text(self._tokenizer(list(texts)).to(self._device))
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
            return vectors


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
    from embed.decode import DECODE_MODES  # noqa: PLC0415 - needs Pillow, which is optional

    ours = (describe_preprocessing(loaded.model), *DECODE_MODES.values())
    if encoder.preprocessing != ours[0] or encoder.decode_mode not in ours[1:]:
        raise WrongEncoder(
            f"The store's images were prepared in another way: {encoder.preprocessing} after {encoder.decode_mode!r}, "
            f"here {ours[0]} after {ours[1]!r}.",
            "Vectors of two encoders cannot be compared.",
            "Ask with an image that the store holds: its vector is there already.",
        )
