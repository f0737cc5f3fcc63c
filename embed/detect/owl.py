"""OWL-ViT and OWLv2: texts and one image in, and for every patch of the image a box and a confidence for each text.

Minderer et al. 2022, https://arxiv.org/abs/2205.06230, and 2023, https://arxiv.org/abs/2306.09683. Pixels are prepared
by transformers' own image processors, as they are.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from embed.detect.questions import TEMPLATE, Question
from embed.detect.weights import find_folder, unavailable
from embed.encoders.device import choose_device, device_label, memory_of
from embed.encoders.identity import weights_sha256
from embed.encoders.torchvision_shim import import_torch, import_transformers, quiet
from store.detector import Detector
from store.errors import MissingExtra, UsageError
from store.measurements import Box, Sighting

if TYPE_CHECKING:
    from torch import Tensor

MIN_BOX_CONFIDENCE: Final = 0.05
"""Boxes below are not kept, or every patch would give one; the highest confidence is kept, however low."""
MAX_BOXES: Final = 20
_REDUCED_ABOVE: Final = 4
"""A side over so many times the model's is first reduced to that: the processor blurs at 12 bytes a pixel."""

_CLASSES: Final = {
    "owlv2": ("Owlv2ForObjectDetection", "Owlv2Processor"),
    "owlvit": ("OwlViTForObjectDetection", "OwlViTProcessor"),
}
_VOLATILE: Final = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}


@dataclass(frozen=True)
class Pixels:
    """One image, ready for the model: `values` is (3, H, W) float32; the size is the image's own."""

    values: "Tensor"
    width_px: int
    height_px: int


class Owl:
    """A loaded detector that answers its questions independently of each other, in float32."""

    def __init__(self, kind: str, weights: str | None, asked: Sequence[Question], device: str) -> None:
        """Load it; raise WeightsUnavailable, MissingExtra or UsageError in one sentence."""
        transformers = _transformers()
        folder, self._name = find_folder(kind, weights)
        self._device = choose_device(device)
        model_class, processor_class = (getattr(transformers, name) for name in _CLASSES[kind])
        self._model, self._processor = _loaded(model_class, processor_class, folder, weights or self._name)
        self._model.eval().requires_grad_(requires_grad=False).to(self._device)
        self.labels = tuple(question.label for question in asked)
        self._texts = self._encoded([question.text for question in asked])
        self._padded_to_square = kind == "owlv2"
        self.record = Detector(kind, self._name, _identity(self._model, self._processor))

    @property
    def device(self) -> str:
        """Where it runs, for people."""
        return device_label(self._device)

    def prepare(self, image: Image.Image) -> Pixels:
        """Return the model's pixels of an RGB image; safe on many threads."""
        size, most = image.size, _REDUCED_ABOVE * self._model.config.vision_config.image_size
        if max(size) > most:
            image = image.copy()
            image.thumbnail((most, most), Image.Resampling.BICUBIC, reducing_gap=2.0)
        values = self._processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
        return Pixels(values, *size)

    def detect(self, batch: Sequence[Pixels]) -> list[dict[str, Sighting]]:
        """Return the answers to every question, for each image in the order given."""
        torch = import_torch()
        with torch.inference_mode(), memory_of(self._device):
            pixels = torch.stack([one.values for one in batch]).to(self._device)
            texts = {name: tensor.repeat(len(batch), 1) for name, tensor in self._texts.items()}
            out = self._model(pixel_values=pixels, **texts)
            confidences = out.logits.sigmoid().cpu().numpy()  # (B, patches, questions) float32
            boxes = out.pred_boxes.cpu().numpy()  # (B, patches, 4) float32: centre and size, 0 to 1
        if not np.isfinite(confidences).all():
            raise unavailable(self._name, "it answers with what is no number")
        return [self._answers(*one) for one in zip(confidences, boxes, batch, strict=True)]

    def _answers(
        self, confidences: npt.NDArray[np.float32], centred: npt.NDArray[np.float32], image: Pixels
    ) -> dict[str, Sighting]:
        corners = self._corners(centred, image)
        return {label: _sighting(confidences[:, k], corners) for k, label in enumerate(self.labels)}

    def _corners(self, centred: npt.NDArray[np.float32], image: Pixels) -> npt.NDArray[np.float32]:
        """Return (patches, 4) corners relative to the image; OWLv2 pads an image to a square first."""
        centre, half = centred[:, :2], centred[:, 2:] / 2
        corners = np.concatenate([centre - half, centre + half], axis=1)
        if self._padded_to_square:
            size = np.array([image.width_px, image.height_px], np.float32)
            corners *= np.tile(size.max() / size, 2)
        return corners

    def _encoded(self, texts: Sequence[str]) -> dict[str, "Tensor"]:
        """Return the texts as tokens, each of the model's length; raise UsageError for one that does not fit."""
        tokenizer, longest = self._processor.tokenizer, self._model.config.text_config.max_position_embeddings
        for text in texts:
            if (tokens := len(tokenizer(text)["input_ids"])) > longest:
                raise UsageError(
                    f"{text!r} is too long: {tokens} tokens, and {self._name} reads {longest}.", do="Say it shorter."
                )
        encoded = tokenizer(list(texts), padding="max_length", max_length=longest, return_tensors="pt")
        return {name: encoded[name].to(self._device) for name in ("input_ids", "attention_mask")}


def _sighting(confidences: npt.NDArray[np.float32], corners: npt.NDArray[np.float32]) -> Sighting:
    ranked = np.argsort(-confidences, kind="stable")[:MAX_BOXES]
    kept = [k for k in ranked if confidences[k] >= MIN_BOX_CONFIDENCE]
    boxes = tuple(Box.of(corners[k], confidences[k]) for k in kept)
    return Sighting(float(confidences.max()), boxes)


def _identity(model: Any, processor: Any) -> dict[str, Any]:  # noqa: ANN401  # of transformers, which has no types
    config = {name: value for name, value in model.config.to_dict().items() if name not in _VOLATILE}
    canonical = json.dumps(config, sort_keys=True, default=str, separators=(",", ":"))
    return {
        "architecture_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "weights_sha256": weights_sha256(model.state_dict()),
        "preprocessing": json.loads(processor.image_processor.to_json_string()),
        "reduced_above": _REDUCED_ABOVE,
        "template": TEMPLATE,
        "min_box_confidence": MIN_BOX_CONFIDENCE,
        "max_boxes": MAX_BOXES,
    }


def _loaded(model_class: Any, processor_class: Any, folder: Path, words: str) -> tuple[Any, Any]:  # noqa: ANN401  # as above
    """Return model and processor of a folder; raise WeightsUnavailable where they are not what they should be."""
    from safetensors import SafetensorError  # noqa: PLC0415  # comes with transformers, which is optional

    torch = import_torch()
    import_transformers().utils.logging.disable_progress_bar()
    try:
        with quiet():
            model, report = model_class.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
            processor = processor_class.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise unavailable(words, f"its files cannot be read ({' '.join(str(error).split())[:160]})") from error
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        raise unavailable(words, f"it is no {model_class.__name__}: weights are missing, {missing[0]} for one")
    return model, processor


def _transformers() -> Any:  # noqa: ANN401  # a module
    try:
        return import_transformers()
    except MissingExtra as error:
        raise MissingExtra(
            error.what,
            "A local detector needs torch, torchvision and transformers.",
            "Install them with: pip install 'clipsieve[detect]'",
        ) from error
