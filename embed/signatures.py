"""What the bytes of an object say by themselves: which image format they begin as, and whether they end too early.

No decoder is asked here, so that "is this an image at all?" never depends on how some library was built.
"""

import re
from dataclasses import dataclass
from typing import Literal

# Longest stretch of a file that any signature looks at; SVG may open with a long comment.
_HEAD_BYTES = 4096

# Checked first: each is either unreadable here or a variant of a readable format that Pillow would misread.
_UNREADABLE = {
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG XR": rb"II\xbc\x01",
    "JPEG-LS": rb"\xff\xd8\xff\xf7",
    "camera raw": rb"II\*\0.{4}CR|FUJIFILMCCD-RAW|FOVb|\0MRM|IIR[OS]|MMOR|IIU\0",
    "SVG": rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->)*+<(?:!(?i:doctype)\s+|\w+:)?svg[\s>]",
    "PSB": rb"8BPS\0\x02",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(?:RADIANCE|RGBE)",
    "DDS": rb"DDS \x7c",
    "ICNS": rb"icns\0",
    "CUR": rb"\0\0\x02\0[\x01-\xff]\0.{3}\0",
    "PCX": rb"\n[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]",
    "SGI": rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]",
    "FITS": rb"SIMPLE  =",
    "Sun raster": rb"\x59\xa6\x6a\x95",
    "XCF": rb"gimp xcf ",
    "DjVu": rb"AT&TFORM.{4}DJV",
    "BPG": rb"BPG\xfb",
    "FLIF": rb"FLIF[1-Z]",
    "MNG": rb"\x8a[MJ]NG\r\n\x1a\n",
    "WMF": rb"\xd7\xcd\xc6\x9a",
    "EMF": rb"\x01\0\0\0.{36} EMF",
    "EPS": rb"\xc5\xd0\xd3\xc6|%!PS-Adobe-[\d.]+ EPSF",
    "ILBM": rb"FORM.{4}(?:ILBM|PBM )",
    "DICOM": rb".{128}DICM",
    "PAM": rb"P7\s|PF\s+\d",
    "XPM": rb"/\* XPM \*/",
    "XBM": rb"#define\s+\w+_width\s+\d",
}

# Named as Pillow names them. Where a signature is only two letters, more of the header is asked for, because prose and
# source code also begin with "BM" or "P1" and would otherwise be reported as broken images.
_READABLE = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM(?:.{4}\0{4}|.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0{3})",
    "JPEG2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n",
    "PSD": rb"8BPS",
    "ICO": rb"\0\0\x01\0[\x01-\xff]\0.{3}\0",
    "PPM": rb"P(?:[1-6]|f)\s+[-#\d]",
    "QOI": rb"qoif",
}


def _compiled(table: dict[str, bytes]) -> dict[str, re.Pattern[bytes]]:
    return {name: re.compile(pattern, re.DOTALL) for name, pattern in table.items()}


_UNREADABLE_PATTERNS = _compiled(_UNREADABLE)
_READABLE_PATTERNS = _compiled(_READABLE)

_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


@dataclass(frozen=True)
class Kind:
    """An image format, and whether a decoder here reads it. The name is Pillow's where it is readable."""

    name: str
    readable: bool


def recognise(data: bytes) -> Kind | None:
    """Return the image format that `data` begins as, None where it begins as none of them."""
    head = data[:_HEAD_BYTES]
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    for patterns, readable in ((_UNREADABLE_PATTERNS, False), (_READABLE_PATTERNS, True)):
        for name, pattern in patterns.items():
            if pattern.match(head):
                return Kind(name, readable)
    return None


def _by_brand(head: bytes) -> Kind | None:
    """Tell the image formats among the ISO base media files, which are mostly films (ISO/IEC 14496-12, `ftyp`)."""
    end = int.from_bytes(head[:4], "big")
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, min(end, len(head)), 4)}
    if brands & _AVIF_BRANDS:
        return Kind("AVIF", readable=True)
    if brands & _HEIF_BRANDS:
        return Kind("HEIF", readable=False)
    return Kind("camera raw", readable=False) if b"crx " in brands else None


def ends_early(name: str, data: bytes) -> bool:  # noqa: PLR0911 (one line for each format)
    """Return True where the file's own lengths or end marks say that bytes are missing at its end.

    `name` is a readable kind's. A reason to call a file that did not decode "truncated" rather than "corrupt", and no
    reason to refuse one that did: a GIF without its trailer still shows its whole first frame. Formats whose decoder
    itself says that data is missing are not listed.
    """
    match name:
        case "JPEG":
            return b"\xff\xd9" not in data[max(data.rfind(b"\xff\xda"), 0) :]
        case "GIF":
            return not data.rstrip(b"\0").endswith(b";")
        case "WEBP":
            return 8 + int.from_bytes(data[4:8], "little") > len(data)
        case "TIFF":
            return _tiff_directory_end(data) > len(data)
        case "ICO":
            return _ico_end(data) > len(data)
        case "AVIF":
            return _boxes_end(data) > len(data)
        case "JPEG2000":
            return not data.rstrip(b"\0").endswith(b"\xff\xd9")
        case _:
            return False


def _tiff_directory_end(data: bytes) -> int:
    """Return the byte after the first directory and its values; many writers put both after the pixels.

    TIFF 6.0, section 2. Of a BigTIFF only where the directory starts.
    """
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    if b"+" in data[2:4]:
        return number(8, 8) + 1
    start = number(4, 4)
    entries = range(start + 2, start + 2 + 12 * number(start, 2), 12)
    ends = [start + 6 + 12 * len(entries)]
    for at in entries:
        size = number(at + 4, 4) * _TIFF_TYPE_BYTES.get(number(at + 2, 2), 0)
        if size > 4:  # noqa: PLR2004 (smaller values stand in the entry itself)
            ends.append(number(at + 8, 4) + size)
    return max(ends)


def _ico_end(data: bytes) -> int:
    """Return the byte after the last picture that the icon's directory lists."""
    count = int.from_bytes(data[4:6], "little")
    entries = [data[at : at + 16] for at in range(6, 6 + 16 * count, 16)]
    return max(int.from_bytes(e[8:12], "little") + int.from_bytes(e[12:16], "little") for e in entries)


def _boxes_end(data: bytes) -> int:
    """Return where the last top-level box ends, walking the boxes' own sizes (ISO/IEC 14496-12, section 4.2)."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return len(data)
        if size < 8:  # noqa: PLR2004 (a box is never shorter than its own header)
            return at
        at += size
    return at
