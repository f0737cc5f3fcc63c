"""Bytes to upright RGB pixels, or the reason why not. One image in, one `Decoded` or one `Refused` out.

Safe to call from many threads at once: nothing is kept between calls.
"""

import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from embed.jpegs import fits_device
from embed.pixels import rgb
from embed.signatures import Kind, ends_early, recognise
from embed.thumbnails import LONGEST_SIDE_PX
from store.records import NOT_AN_IMAGE, ErrorCode, ImageFacts, Outcome, failed

DECODE_MODE: Final = "full-1"
"""Names the choices that decide the pixels; a change of any of them is a new name, because it is another encoder.

full    every pixel is decoded: no reduced-size JPEG decoding
1       first frame of an animation, first page, for an icon its largest picture, for layers the flattened picture;
        EXIF orientation applied; transparency over white; greyscale deeper than 8 bits scaled, see `embed/pixels.py`;
        CMYK by Pillow's formula, LAB by its definition; colour profiles not applied, as in open_clip
"""

DRAFT_MODE: Final = "draft2-1"
"""As `full-1`, but a JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 at which its shortest side still is twice
the encoder's longest: quicker for large photos, and its pixels are not quite open_clip's."""

GPU_MODES: Final = {"cuda": "gpu-1", "cpu": "gpu-1-on-cpu"}
"""By the kind of device: as `full-1`, but what `embed/jpegs.py` lets through is decoded and made small there.

cuda    nvJPEG as torchvision calls it, which repeats the nearest sample of the coarser colours where libjpeg-turbo
        interpolates, then `embed/on_device/decoder.py`
cpu     the same code with libjpeg-turbo: for trying it where there is no GPU
"""

DECODE_MODES: Final = {"full": DECODE_MODE, "draft": DRAFT_MODE, "gpu": GPU_MODES["cuda"]}
"""By the word of `--decode`."""

MAX_PIXELS: Final = 178_956_970
"""More pixels than this are refused from the header alone. It is the limit at which Pillow itself raises by default."""

# One AVIF decodes on one thread: many images are decoded at once, and each would start a thread for every core.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# The formats that are read: those that buckets of pictures hold, each with a signature of its own. Pillow is not asked
# to identify files, because it would also try EPS (runs Ghostscript), formats without a signature such as TGA (takes
# almost any bytes for a picture), and stubs that recognise a format and cannot read it. Asking a plugin directly also
# keeps its own words when it fails, where `Image.open` only says "cannot identify image file".
_OPENERS: Final[dict[str, Callable[[BytesIO], ImageFile.ImageFile]]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "ICO": IcoImagePlugin.IcoImageFile,
    "JPEG": JpegImagePlugin.jpeg_factory,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "PSD": PsdImagePlugin.PsdImageFile,
    "QOI": QoiImagePlugin.QoiImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}

# Pillow's plugins are parsers of hostile bytes in Python: beside OSError and SyntaxError, which they raise on purpose,
# a bad length or tag surfaces as whatever the line that met it raises. Only the reading of one image stands under it.
_BROKEN: Final = (
    ArithmeticError,  # OverflowError, ZeroDivisionError: absurd sizes
    AssertionError,  # Pillow states its assumptions about headers so
    AttributeError,
    EOFError,
    ImageCms.PyCMSError,
    LookupError,  # IndexError, KeyError: short data, unknown tags
    MemoryError,  # a length field that asks for more than there is; pixels are limited before
    OSError,  # most decoder errors
    RuntimeError,  # NotImplementedError, RecursionError
    SyntaxError,  # "this is not that format"
    TypeError,
    ValueError,
    Image.DecompressionBombError,  # a picture inside the picture: icons
    struct.error,
    zlib.error,
)

_TRUNCATED: Final = re.compile(
    r"truncated|not enough (image )?data|buffer is not large enough|requires a buffer|reached EOF|end of file"
    r"|unexpected end|but only got|incomplete checksum|chunk b''",
    re.IGNORECASE,
)
_UNSUPPORTED: Final = re.compile(
    r"unsupported|not supported|not installed|not available|cannot handle|unknown (pixel mode|photometric|data organi)",
    re.IGNORECASE,
)
_BOMB: Final = re.compile(r"MAX_TEXT|decompression bomb")

_OPTIONAL_CODECS: Final = {"webp", "zstd", "lzma", "lerc"}  # of libtiff, each left out of some builds

_ORIENTATION_TAG: Final = 0x0112  # EXIF 2.32, table 4
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_SWAPPED: Final = (5, 6, 7, 8)


class Refused(Exception):
    """The bytes give no picture. `outcome` says why; `facts` is what the header said, None where it was unreadable."""

    def __init__(self, outcome: Outcome, facts: ImageFacts | None = None) -> None:
        """Keep the reason, and what was learned before it."""
        self.outcome, self.facts = outcome, facts
        super().__init__(outcome.error_detail or str(outcome.status))


@dataclass(frozen=True)
class Decoded:
    """One picture: `image` in mode RGB, upright, `facts.width_px` by `facts.height_px` unless it is `reduced`."""

    image: Image.Image
    facts: ImageFacts
    reduced: bool = False
    for_device: bool = False  # reduced, to see it and to check it: its pixels are left to the device


def decode(
    data: bytes,
    grant: Callable[[ImageFacts], None] | None = None,
    draft_px: int | None = None,
    *,
    for_device: bool = False,
) -> Decoded:
    """Decode one object's bytes; raise Refused, and nothing else, where they give no whole picture.

    `grant` is told what the header says before pixels take memory, and may raise Refused. With `draft_px` a JPEG may be
    decoded at a fraction of its size, at which its shortest side is at least so long; with `for_device`, one that a
    device can decode, at the fraction that a thumbnail needs. Either way all of its bytes are read, or refused as ever.
    """
    kind = _readable_kind(data)
    facts = None
    try:
        image = _OPENERS[kind.name](BytesIO(data))
        facts = _facts(image)
        _refuse_unfit(image, facts)
        left = for_device and fits_device(image, data) and _reduce(image, LONGEST_SIDE_PX / max(image.size))
        reduced = left or (draft_px is not None and _reduce(image, draft_px / min(image.size)))
        if grant is not None:
            grant(facts)
        image.load()
        if image.format == "PNG":  # its EXIF may stand after the pixels
            facts = _facts(image)
        pixels = rgb(image)
    except _BROKEN as error:
        raise Refused(_reason(kind.name, data, error), facts) from error
    # A TIFF turns itself upright as it loads.
    turn = _TURNS.get(facts.exif_orientation or 1) if image.format != "TIFF" else None
    return Decoded(pixels.transpose(turn) if turn is not None else pixels, facts, reduced, left)


def _reduce(image: ImageFile.ImageFile, scale: float) -> bool:
    """Let a JPEG be decoded smaller, but at no less than `scale`, where it can; return whether it will be.

    https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.draft
    """
    if image.format not in {"JPEG", "MPO"}:
        return False
    whole = image.size
    image.draft(None, (math.ceil(whole[0] * scale), math.ceil(whole[1] * scale)))
    return image.size != whole


def _readable_kind(data: bytes) -> Kind:
    if not data:
        raise Refused(failed(ErrorCode.EMPTY, "the object holds no bytes"))
    kind = recognise(data)
    if kind is None:
        raise Refused(NOT_AN_IMAGE)
    if not kind.readable:
        raise Refused(failed(ErrorCode.UNSUPPORTED, f"{kind.name}: no decoder for this format here"))
    return kind


def _facts(image: ImageFile.ImageFile) -> ImageFacts:
    orientation = _orientation(image)
    width, height = image.size
    if orientation in _SIDES_SWAPPED and image.format != "TIFF":  # a TIFF already gives the size as displayed
        width, height = height, width
    return ImageFacts(width, height, image.format or "", image.mode, orientation)


def _orientation(image: ImageFile.ImageFile) -> int | None:
    """Return the EXIF (or XMP) orientation; EXIF that cannot be read does not make a picture unreadable.

    Never loads the pixels: PngImageFile.getexif would, so the base class is asked, and only where there is something to
    find, because Pillow remembers the first answer.
    """
    keys = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
    if image.format == "PNG" and not keys & image.info.keys():
        return None
    try:
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG)
    except _BROKEN:
        return None
    return value if isinstance(value, int) and 1 <= value <= max(_TURNS) else None


def _refuse_unfit(image: ImageFile.ImageFile, facts: ImageFacts) -> None:
    """Refuse, from the header, a picture that is too big, or whose first picture is only a preview of the real one."""
    pixels = facts.width_px * facts.height_px
    if pixels > MAX_PIXELS:
        size = f"{facts.width_px} x {facts.height_px}"
        detail = f"{image.format}: {size} = {pixels:,} pixels, more than the {MAX_PIXELS:,} that are decoded"
        raise Refused(failed(ErrorCode.DECOMPRESSION_BOMB, detail), facts)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _refuse_unfit_tiff(image, facts)


def _refuse_unfit_tiff(image: TiffImagePlugin.TiffImageFile, facts: ImageFacts) -> None:
    """Refuse a TIFF of which Pillow would read only a part, and say nothing."""
    tags = image.tag_v2
    dng_version, new_subfile_type, sub_ifds, image_length = 50706, 254, 330, 257  # TIFF 6.0; DNG 1.4, chapters 2 and 4
    # DNG, NEF, ARW, …: the first directory is a preview ("reduced resolution": bit 0) of the picture in a sub-IFD.
    if dng_version in tags or (tags.get(new_subfile_type, 0) & 1 and sub_ifds in tags):
        raise Refused(failed(ErrorCode.UNSUPPORTED, "camera raw: only its small preview could be read here"), facts)
    rows = max((tile.extents[3] for tile in image.tile if tile.extents), default=0)
    if rows < tags[image_length]:  # the other rows would be black
        detail = f"TIFF: the directory lists only {rows:,} of its {tags[image_length]:,} rows"
        raise Refused(failed(ErrorCode.CORRUPT, detail), facts)


def _reason(name: str, data: bytes, error: Exception) -> Outcome:
    """Say in one outcome why a decoder gave up: `error` is what it raised on `data`."""
    deliberate = isinstance(error, OSError | SyntaxError | ValueError | Image.DecompressionBombError)
    told = str(error) if deliberate else f"{type(error).__name__} {error}"
    detail = f"{name}: {told.strip() or type(error).__name__}"
    if isinstance(error, Image.DecompressionBombError) or _BOMB.search(told):
        return failed(ErrorCode.DECOMPRESSION_BOMB, detail)
    if isinstance(error, MemoryError):
        return failed(ErrorCode.DECOMPRESSION_BOMB, f"{name}: decoding asks for more memory than there is")
    if isinstance(error, EOFError) or _TRUNCATED.search(told) or ends_early(name, data):
        return failed(ErrorCode.TRUNCATED, detail)
    if isinstance(error, NotImplementedError) or _UNSUPPORTED.search(told):
        return failed(ErrorCode.UNSUPPORTED, detail)
    return _reason_of_tiff(data, detail) if name == "TIFF" else failed(ErrorCode.CORRUPT, detail)


def _reason_of_tiff(data: bytes, detail: str) -> Outcome:
    """Look into the directory: libtiff's own words go to the terminal, and Pillow only says "decoder error -2"."""
    try:
        image = TiffImagePlugin.TiffImageFile(BytesIO(data))
        codec, tags = str(image.info.get("compression")), image.tag_v2
        strips = tags.get(273, ()) or tags.get(324, ())  # StripOffsets, TileOffsets, and their ByteCounts
        sizes = tags.get(279, ()) or tags.get(325, ())
        end = max((offset + size for offset, size in zip(strips, sizes, strict=False)), default=0)
        missing = end - len(data)
    except _BROKEN:
        return failed(ErrorCode.CORRUPT, detail)
    if missing > 0:
        return failed(ErrorCode.TRUNCATED, f"{detail}; the picture lacks {missing:,} bytes at its end")
    if codec in _OPTIONAL_CODECS and not _libtiff_has(codec):
        return failed(ErrorCode.UNSUPPORTED, f"TIFF: this build of libtiff has no {codec} decoder")
    return failed(ErrorCode.CORRUPT, detail)


@cache
def _libtiff_has(codec: str) -> bool:
    """Try the codec on one pixel: neither Pillow nor the error of a failed file says which codecs were built in."""
    try:
        Image.new("RGB", (1, 1)).save(BytesIO(), "TIFF", compression=codec)
    except _BROKEN:
        return False
    return True
