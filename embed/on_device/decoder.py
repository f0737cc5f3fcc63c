"""JPEGs to the encoder's pixels on a device: decoded, turned upright, scaled and cropped there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from embed.encoders.torchvision_shim import import_decode_jpeg, import_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever its case

    from embed.geometry import Geometry

    Reader = Callable[[Sequence[bytes]], list[Tensor]]

_UPRIGHT: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (2,)),
    3: (False, (1, 2)),
    4: (False, (1,)),
    5: (True, ()),
    6: (True, (2,)),
    7: (True, (1, 2)),
    8: (True, (1,)),
}
"""By EXIF orientation: whether height and width change places, and which of the two are then mirrored."""


@dataclass(frozen=True)
class Jpeg:
    """A whole file, and the orientation that its EXIF says."""

    data: bytes
    orientation: int | None = None


class DeviceDecoder:
    """Decodes many JPEGs at once; used by one thread.

    Pixels come back to the host, 150 KB a picture, because a batch also holds pictures that only a CPU decodes.
    """

    def __init__(self, device: "Device", geometry: "Geometry") -> None:
        """Decode on `device`, for an encoder that wants pictures so."""
        self._geometry, self._read = geometry, reader(device)
        self._stream = import_torch().cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, jpegs: Sequence[Jpeg]) -> "list[NDArray[np.uint8] | None]":
        """Return (3, H, W) uint8 for each; None for one that the device's decoder refuses."""
        torch = import_torch()
        with torch.inference_mode(), self._apart():
            found = self._whole([jpeg.data for jpeg in jpegs])
            small: list[Tensor | None] = []
            for place, jpeg in enumerate(jpegs):
                whole, found[place] = found[place], None  # the whole picture is let go before the next is made small
                small.append(None if whole is None else self._small(whole, jpeg.orientation))
            made = [one for one in small if one is not None]
            back = iter(torch.stack(made).cpu().numpy() if made else ())
        return [None if one is None else next(back) for one in small]

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Keep the memory of this work from all other work of the device, and begin with none of it under way.

        nvJPEG's hardware writes a picture when it is called, and not when the stream comes to it; torchvision's stream
        does not wait for the caller's either. So in the tower's stream a picture would overwrite what a batch that is
        under way still reads: torch hands out memory again once the stream that has freed it will be done with it.
        https://github.com/pytorch/vision/pull/9606, https://github.com/meta-pytorch/torchcodec/pull/1634
        """
        if self._stream is None:
            yield
            return
        with import_torch().cuda.stream(self._stream):
            self._stream.synchronize()
            yield

    def _whole(self, files: list[bytes]) -> "list[Tensor | None]":
        """Return (3, height, width) uint8 for each file.

        torchvision gives nothing where one of many is refused, so these are halved until those stand alone. A device
        without room for them says so by a RuntimeError too.
        """
        try:
            return list(self._read(files))
        except (OSError, RuntimeError, SyntaxError):
            if len(files) == 1:
                return [None]
        half = len(files) // 2
        return self._whole(files[:half]) + self._whole(files[half:])

    def _small(self, whole: "Tensor", orientation: int | None) -> "Tensor | None":
        """Turn, scale and crop (3, height, width) uint8 to (3, H, W), rounding where `embed/geometry.py` does.

        None where the device lacks the memory for it, also that of one block, which CUDA asks for by the scale.
        """
        geometry, image = self._geometry, upright(whole, orientation)
        width, height = geometry.scaled(image.shape[2], image.shape[1])
        try:
            wide = _scaled(image, image.shape[1], width, geometry.filter)
            return _centre(_scaled(wide, height, width, geometry.filter), geometry)
        except RuntimeError:
            return None


def reader(device: "Device") -> "Reader":
    """Return what decodes files on `device`: torchvision, or on a CPU without its operators Pillow's libjpeg-turbo."""
    torch, decode = import_torch(), import_decode_jpeg()
    if decode is None:
        return _by_pillow

    def by_torchvision(files: Sequence[bytes]) -> "list[Tensor]":
        tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        found: list[Tensor] = decode(tensors, mode="RGB", device=device)
        return found

    return by_torchvision


def _by_pillow(files: Sequence[bytes]) -> "list[Tensor]":
    torch = import_torch()
    images = [np.array(JpegImageFile(BytesIO(data)).convert("RGB")) for data in files]
    return [torch.from_numpy(image).permute(2, 0, 1) for image in images]


def upright(whole: "Tensor", orientation: int | None) -> "Tensor":
    """Turn (3, height, width) as EXIF 2.32, table 4, says; torchvision does it on a CPU alone."""
    swaps, mirrored = _UPRIGHT.get(orientation or 1, (False, ()))
    turned = whole.transpose(1, 2) if swaps else whole
    return turned.flip(mirrored) if mirrored else turned


def _scaled(image: "Tensor", height: int, width: int, kind: str) -> "Tensor":
    """Scale one side: Pillow scales width before height, and rounds to whole levels after each."""
    if image.shape[1:] == (height, width):
        return image
    resize = import_torch().nn.functional.interpolate
    levels = resize(image[None].float(), (height, width), mode=kind, antialias=True, align_corners=False)
    rounded: Tensor = levels[0].round_().clamp_(0, 255).byte()
    return rounded


def _centre(image: "Tensor", geometry: "Geometry") -> "Tensor":
    """Return the centre, padded where the image is smaller; rounded as in `embed/geometry.py`."""
    height, width = image.shape[1:]
    down, right = max(0, geometry.height_px - height), max(0, geometry.width_px - width)
    if down or right:
        border = (right // 2, (right + 1) // 2, down // 2, (down + 1) // 2)
        image = import_torch().nn.functional.pad(image, border, value=geometry.padding)
        height, width = image.shape[1:]
    top, left = round((height - geometry.height_px) / 2.0), round((width - geometry.width_px) / 2.0)
    return image[:, top : top + geometry.height_px, left : left + geometry.width_px]
