"""A small folder of drawn pictures with what a real bucket also holds: copies, broken files, files of other kinds."""

import io
import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

_FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF"}

ODD_NAMES = (
    "50%.png",
    "a space.jpg",
    "new\nline.png",
    "plus+and&.webp",
    'quote\'d "twice".gif',
    "ümlaut 日本.jpg",
    "*?[x].png",
)

OUTCOMES = {
    **{
        f"{folder}/{number:02d}{suffix}": "embedded"
        for number, (folder, suffix) in enumerate(
            [
                (folder, suffix)
                for folder in ("cats", "cats/asleep", "streets", "streets/by night/wet")
                for suffix in (".jpg", ".png", ".webp", ".gif", ".jpg")
            ]
        )
    },
    **{f"odd names/{name}": "embedded" for name in ODD_NAMES},
    "copies/00 again.jpg": "embedded",  # the same bytes as cats/00.jpg
    "copies/00 once more.jpg": "embedded",
    "copies/00 smaller.jpg": "embedded",  # near-duplicates of cats/00.jpg
    "copies/00 as png.png": "embedded",
    "broken/empty.jpg": "empty",
    "broken/cut off.jpg": "truncated",
    "broken/garbled.png": "corrupt",
    "broken/huge.bmp": "decompression_bomb",
    "broken/drawing.svg": "unsupported",
    "notes.txt": "not_an_image",
    "cats/labels.csv": "not_an_image",
    ".hidden": "not_an_image",
}
"""By key: `embedded`, `not_an_image`, or the error code of an image that fails."""


def picture(number: int) -> Image.Image:
    """Return an RGB picture that no other number has: its size, its colours and what is drawn on it differ."""
    width, height = 60 + 37 * number % 150, 50 + 53 * number % 170
    tint = tuple(int(127 + 127 * math.sin(number + phase)) for phase in (0, 2, 4))
    image = Image.linear_gradient("L").resize((width, height)).rotate(90 * (number % 4)).convert("RGB")
    image = Image.blend(image.resize((width, height)), Image.new("RGB", (width, height), tint), 0.6)
    draw = ImageDraw.Draw(image)
    for corner in range(number % 5 + 1):
        x, y = width * corner // 6, height * (number + corner) % height // 2
        draw.ellipse((x, y, x + 12 + 3 * number, y + 30), fill=(255 - tint[0], 40 * corner, tint[2]))
    return image


def picture_bytes(number: int, suffix: str = ".jpg") -> bytes:
    """Return `picture(number)` as a file; `suffix` is .jpg, .png, .webp or .gif."""
    file = io.BytesIO()
    picture(number).save(file, _FORMATS[suffix])
    return file.getvalue()


def write_photos(folder: Path) -> Path:
    """Write the files of OUTCOMES below `folder`; return it. The bytes are the same on every call."""
    for number, key in enumerate(OUTCOMES):
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_SPECIAL[key]() if key in _SPECIAL else picture_bytes(number, path.suffix))
    return folder


def _smaller() -> bytes:
    image, file = picture(0), io.BytesIO()
    image.resize((image.width * 4 // 5, image.height * 4 // 5)).save(file, "JPEG", quality=80)
    return file.getvalue()


def _garbled() -> bytes:
    whole = bytearray(picture_bytes(2, ".png"))
    whole[60:90] = bytes(30)
    return bytes(whole)


def _huge() -> bytes:
    """Return a file of a few bytes whose header promises 3.6 billion pixels."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "BMP")
    header = bytearray(file.getvalue())
    header[18:26] = (60_000).to_bytes(4, "little") * 2
    return bytes(header)


def _words() -> bytes:
    return b"no picture, only words\n"


_SPECIAL: dict[str, Callable[[], bytes]] = {
    "copies/00 again.jpg": lambda: picture_bytes(0),
    "copies/00 once more.jpg": lambda: picture_bytes(0),
    "copies/00 smaller.jpg": _smaller,
    "copies/00 as png.png": lambda: picture_bytes(0, ".png"),
    "broken/empty.jpg": bytes,
    "broken/cut off.jpg": lambda: picture_bytes(1)[:-200],
    "broken/garbled.png": _garbled,
    "broken/huge.bmp": _huge,
    "broken/drawing.svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "notes.txt": _words,
    "cats/labels.csv": _words,
    ".hidden": _words,
}
