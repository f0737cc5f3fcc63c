"""Which JPEGs a device's decoder is trusted with; the others take the CPU's way, so none is lost."""

from typing import Final

from PIL import ImageFile

MOST_PIXELS: Final = 1 << 25
"""Of a picture that a device decodes: it takes 3 bytes a pixel there, and 12 more while it is made small."""

_MOST_OBLONG: Final = 4
"""Longer strips are cropped before they are scaled (`embed/geometry.py`)."""

_FRAMES: Final = (0xC0, 0xC1, 0xC2)  # SOF: baseline, extended and progressive, with Huffman codes. ITU-T T.81, B.1.1.3
_NO_FRAMES: Final = (0xC4, 0xC8, 0xCC)  # DHT, JPG and DAC stand among the numbers of the frames
_STANDALONE: Final = (0x01, *range(0xD0, 0xDA))  # TEM, RST, SOI, EOI: markers without a length
_SOS: Final = 0xDA
_BITS: Final = 8

# Sampling factors (horizontal << 4 | vertical) of the luminance beside colours of 0x11: 4:4:4, 4:2:2, 4:2:0, 4:4:0,
# 4:1:1, 4:1:0. nvJPEG knows these and grey, and torchvision refuses a whole batch for another one.
_LUMINANCES: Final = (0x11, 0x21, 0x22, 0x12, 0x41, 0x42)


def fits_device(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Whether an opened picture is a JPEG in grey or YCbCr of 8 bits, of a size and shape that a device takes.

    One that holds RGB says so by Adobe's marker or by the names of its components, and decoders disagree on both.
    """
    if image.format != "JPEG" or image.mode not in {"L", "RGB"} or image.info.get("adobe_transform") == 0:
        return False
    if image.width * image.height > MOST_PIXELS or max(image.size) > _MOST_OBLONG * min(image.size):
        return False
    frame = _frame(data)  # 8 bits, height, width, count of components; for each its name, sampling factors, table
    if len(frame) < 6 or frame[0] != _BITS or len(frame) < 6 + 3 * frame[5]:  # noqa: PLR2004  # just told
        return False
    names, factors = frame[6::3][: frame[5]], frame[7::3][: frame[5]]
    if len(factors) == 1:
        return True
    return names != b"RGB" and factors[0] in _LUMINANCES and factors[1:] == b"\x11\x11"


def _frame(data: bytes) -> bytes:
    """Return what the first frame's header says behind its length; nothing where its way of coding is another one."""
    at = 0
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 4:
        marker = data[at + 1]
        if marker in {0x00, 0xFF, *_STANDALONE}:
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004  # fill bytes, B.1.1.2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == _SOS:
            break
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:  # noqa: PLR2004  # SOF0 to SOF15
            return data[at + 4 : end] if marker in _FRAMES else b""
        at = end
    return b""
