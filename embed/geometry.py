"""How a picture becomes the encoder's size, in Pillow alone: what open_clip's preprocessing does, without torch.

It is described by a record and not by a function, so that the processes that decode can be told of it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

LONGEST_SIDE = 8
"""A side of more than so many times the wanted one is not scaled as a whole before it is cropped."""


@dataclass(frozen=True)
class Geometry:
    """Scale and crop, as open_clip 3.3 does: https://github.com/mlfoundations/open_clip, `transform.py`.

    `shortest` scales the shortest side to fit and crops the centre, `longest` the longest side and pads, `squash` both
    sides on their own. `rounds` says how the scaled length is cut to whole pixels: down as torchvision does it for
    squares, or to the nearest.
    """

    height_px: int
    width_px: int
    mode: Literal["shortest", "longest", "squash"] = "shortest"
    filter: Literal["bicubic", "bilinear"] = "bicubic"
    fill: int = 0
    rounds: Literal["down", "nearest"] = "down"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height_px, width_px) of what `pixels` returns."""
        return (3, self.height_px, self.width_px)

    @property
    def size_bytes(self) -> int:
        """Of what `pixels` returns."""
        return 3 * self.height_px * self.width_px

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return (3, H, W) uint8 of an image of mode RGB."""
        small = np.asarray(self._cropped(image))  # (H, W, 3)
        return np.ascontiguousarray(small.transpose(2, 0, 1))

    def _cropped(self, image: Image.Image) -> Image.Image:
        wanted = (self.width_px, self.height_px)
        width, height = self.scaled(image.width, image.height)
        if width > LONGEST_SIDE * self.width_px or height > LONGEST_SIDE * self.height_px:
            return self._centre(image, width, height)
        scaled = image if (width, height) == image.size else image.resize((width, height), self._resampling)
        if scaled.size == wanted:
            return scaled
        return _centre_crop(scaled, *wanted, self.padding)

    def _centre(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """Scale only what the crop keeps: a strip of 1 x 100,000 pixels would be gigabytes as a whole.

        The same up to rounding, and to where overshoot is cut off: Pillow may scale width and height in another order.
        """
        left, top = round((width - self.width_px) / 2.0), round((height - self.height_px) / 2.0)
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, (left + self.width_px) * x, (top + self.height_px) * y)
        return image.resize((self.width_px, self.height_px), self._resampling, box)

    def scaled(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return width and height of a picture after scaling, before the crop."""
        if self.mode == "squash":
            return (self.width_px, self.height_px)
        if self.rounds == "down":
            short, long = min(width_px, height_px), max(width_px, height_px)
            scaled = int(self.width_px * long / short)
            return (self.width_px, scaled) if width_px <= height_px else (scaled, self.height_px)
        ratios = (height_px / self.height_px, width_px / self.width_px)
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return (max(1, round(width_px / ratio)), max(1, round(height_px / ratio)))

    @property
    def padding(self) -> int:
        """The level of what is added where the scaled picture is smaller than wanted."""
        return self.fill if self.mode == "longest" else 0

    @property
    def _resampling(self) -> Image.Resampling:
        return Image.Resampling.BILINEAR if self.filter == "bilinear" else Image.Resampling.BICUBIC


def _centre_crop(image: Image.Image, width: int, height: int, fill: int) -> Image.Image:
    """Return the centre, padded where the image is smaller; as torchvision and open_clip round it."""
    lacks = (max(0, width - image.width), max(0, height - image.height))
    if any(lacks):
        border = (lacks[0] // 2, lacks[1] // 2, (lacks[0] + 1) // 2, (lacks[1] + 1) // 2)
        image = ImageOps.expand(image, border, (fill, fill, fill))
        if image.size == (width, height):
            return image
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
