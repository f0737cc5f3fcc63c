"""The image tower of an encoder: pixels become L2-normalised vectors."""

from subprocess import SubprocessError
from typing import TYPE_CHECKING

import numpy as np

from embed.encoders.device import dtype_of, memory_of
from embed.encoders.flight import Pending, Road
from embed.encoders.model import LoadedModel, Model
from embed.encoders.preprocessing import geometry_of, preprocessing
from embed.encoders.torchvision_shim import import_torch, quiet
from store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever its case

    Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]  # B of them, each (3, H, W)

ALIKE = 0.999
"""The least cosine between a vector of the compiled tower and the same of the plain one."""


class ImageTower:
    """The image side of a model: pixels in, L2-normalised float16 vectors out.

    `prepare` may run in many threads at once; `submit` and `encode` belong to one.
    """

    def __init__(self, loaded: LoadedModel, device: "Device", precision: str) -> None:
        """Move the model to `device` and cast its image side, and only that, to `precision`."""
        torch = import_torch()
        self._steps, normalize = preprocessing(loaded.model)
        self.geometry = geometry_of(loaded.model, self._steps)
        """What `prepare` does, for processes without torch; None where it cannot be told without it."""
        self.device, self._road, self._dtype = device, Road(device), dtype_of(precision)
        loaded.model.visual.to(self._dtype)  # before it travels: several processes may share the device's memory
        with memory_of(device):
            self._model, self._to_length_one = loaded.model.to(device), torch.nn.functional.normalize
        if device.type != "mps" and _is_convolutional(loaded.model.visual):
            self._model.visual.to(memory_format=torch.channels_last)
        self._mean, self._std, self._full = (
            torch.as_tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
            for values in (normalize.mean, normalize.std, [255.0])
        )
        size = loaded.model.visual.preprocess_cfg["size"]
        height, width = (size, size) if isinstance(size, int) else size
        self.input_shape = (3, int(height), int(width))  # (channels, height_px, width_px)
        self.embedding_dim = int(loaded.config["embed_dim"])  # D
        self._work: Callable[[Tensor], Tensor] = self._rounded
        self._only_size: int | None = None  # of a batch, once the tower is compiled

    def prepare(self, image: "Image") -> "NDArray[np.uint8]":
        """Resize and crop an RGB image as open_clip does: (3, H, W) uint8, without normalisation."""
        pixels = np.asarray(self._steps(image))  # (H, W, 3)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def submit(self, pictures: "Pictures") -> Pending:
        """Begin to encode B pictures of (3, H, W) uint8; on CUDA this returns while the device works.

        The result is (B, D) float16, rows L2-normalised in float32 before they are rounded.
        Raises ClipsieveError where the device has no memory for them.
        """
        for picture in pictures:
            if picture.dtype != np.uint8 or picture.shape != self.input_shape:
                raise ValueError(f"expected {self.input_shape} uint8, got {picture.shape} {picture.dtype}")
        count, torch = len(pictures), import_torch()
        if count > (self._only_size or count):
            raise ValueError(f"compiled for {self._only_size} pictures, got {count}")
        pixels = self._road.room((self._only_size or count, *self.input_shape), torch.uint8)
        if count:
            np.stack(list(pictures), out=pixels[:count].numpy())
        pixels[count:] = 0
        with torch.inference_mode(), memory_of(self.device):
            return self._road.send(pixels, self._work, count)

    def encode(self, pictures: "Pictures") -> "NDArray[np.float16]":
        """Encode B pictures of (3, H, W) uint8 as (B, D) float16; see `submit`.

        Raises WeightsUnavailable where the model answers with something other than finite numbers.
        """
        return self.submit(pictures).result() if len(pictures) else np.empty((0, self.embedding_dim), np.float16)

    def compile(self, batch_size: int, backend: str = "inductor") -> None:
        """Compile the tower for one shape: a batch of fewer pictures is filled up with black ones.

        Raises UsageError where this machine cannot, or where what was compiled has vectors of its own: noise must come
        out as it did before, each vector with cosine >= ALIKE.
        """
        torch = import_torch()
        noise = np.random.default_rng(0).integers(0, 256, (batch_size, *self.input_shape), np.uint8)
        plain = self.encode(noise).astype(np.float32)
        self._only_size = batch_size
        try:
            with quiet():
                self._work = torch.compile(self._rounded, dynamic=False, backend=backend)
                compiled = self.encode(noise).astype(np.float32)
        except (RuntimeError, OSError, SubprocessError) as error:  # torch's own, and Triton's of the compiler it calls
            raise UsageError(
                f"The image tower cannot be compiled here ({str(error).strip().splitlines()[0][:200]}).",
                "torch.compile needs a C++ compiler on a CPU, and on a GPU Triton, a C compiler and Python's headers.",
                "Leave out --compile.",
            ) from error
        if (worst := float((plain * compiled).sum(axis=1).min())) < ALIKE:
            raise UsageError(
                f"The compiled image tower answers otherwise: one vector has cosine {worst:.4f} with what it was.",
                "Its vectors would be those of another encoder under this one's name.",
                "Leave out --compile.",
            )

    def _rounded(self, pixels: "Tensor") -> "Tensor":
        """Turn (B, 3, H, W) uint8 into (B, D) float16, both on the device, rows L2-normalised."""
        return self._embed(pixels).half()

    def _embed(self, pixels: "Tensor") -> "Tensor":
        """Turn (B, 3, H, W) uint8 into (B, D) float32, both on the device, rows L2-normalised."""
        features = self._model.encode_image(self._normalized(pixels).to(self._dtype))
        vectors: Tensor = self._to_length_one(features.float(), dim=-1)
        return vectors

    def _normalized(self, pixels: "Tensor") -> "Tensor":
        """Return (B, 3, H, W) float32 on the device, bit for bit what torchvision's ToTensor and Normalize give.

        Divides by a tensor: CUDA multiplies by the reciprocal where the divisor is a Python number.
        https://github.com/pytorch/vision/blob/main/torchvision/transforms/_functional_tensor.py
        """
        return pixels.float().div_(self._full).sub_(self._mean).div_(self._std)


def _is_convolutional(visual: Model) -> bool:
    """Whether channels-last pays: a ViT has one convolution, its patches, and copies their result anyway."""
    conv = import_torch().nn.Conv2d
    return sum(isinstance(module, conv) for module in visual.modules()) > 1
