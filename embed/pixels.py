"""Every mode that Pillow knows to 8-bit RGB. What is decided here is part of `DECODE_MODE` in `embed/decode.py`."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin


def rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image as a new one of mode RGB; anything see-through is laid over white.

    A BMP that would be see-through all over is opaque: its writer left the fourth byte of each pixel unused.
    """
    if image.mode.startswith(("I", "F")):
        image = _grey(image)
    elif image.mode == "LAB":
        image = _srgb_of_lab(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    alpha = layer.getchannel("A")
    if image.format == "BMP" and alpha.getextrema() == (0, 0):
        return layer.convert("RGB")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(layer, mask=alpha)
    return canvas


def _grey(image: Image.Image) -> Image.Image:
    """Scale greyscale deeper than 8 bits to mode L, or LA where one value is declared transparent.

    16 bits: white is 65535, or what a TIFF's BitsPerSample allows. 32-bit integers and floats state no white: it is the
    first of 1 (floats only), 255 (floats only) and 65535 that no value exceeds; where a value is negative or larger,
    the range found is stretched. Values that are no number are black.
    """
    values = np.asarray(image)  # (H, W) uint16, int32 or float32
    if image.mode.startswith("I;16"):
        levels = np.arange(1 << 16) * (255 / _white_of_16_bit(image))
        grey = Image.fromarray(_to_uint8(levels)[values])
    else:
        grey = Image.fromarray(_stretched(values.astype(np.float32), floats=image.mode == "F"))
    see_through = image.info.get("transparency")
    if see_through is None:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == see_through, 0, 255).astype(np.uint8))))


def _stretched(values: NDArray[np.float32], *, floats: bool) -> NDArray[np.uint8]:
    """Scale (H, W) values that state no white to (H, W) levels, by the rule that `_grey` tells."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    whites = [white for white in ((1.0, 255.0, 65535.0) if floats else (65535.0,)) if high <= white]
    black, white = (0.0, whites[0]) if whites and low >= 0 else (low, high)
    known = np.nan_to_num(values, nan=black, posinf=white, neginf=black)
    with np.errstate(over="ignore"):  # the span of extreme floats is infinite, and then white
        return _to_uint8((known - black) * (255 / ((white - black) or 1)))


def _to_uint8(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    return levels.round().clip(0, 255).astype(np.uint8)


def _white_of_16_bit(image: Image.Image) -> float:
    """Return the largest value: 65535, but 4095 for a TIFF of 12 bits, which Pillow unpacks without scaling."""
    bits = image.tag_v2.get(258, (16,))[0] if isinstance(image, TiffImagePlugin.TiffImageFile) else 16
    return float((1 << bits) - 1)


def _srgb_of_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return converted if converted is not None else image.convert("RGB")
