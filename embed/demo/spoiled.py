"""What becomes of pictures in the wild: near-duplicates of known kinds, and files that are damaged."""

from io import BytesIO
from typing import Literal, TypeAlias, get_args

from PIL import Image, ImageEnhance, ImageOps

from embed.demo.drawing.canvas import Dice

Variant: TypeAlias = Literal["re-encoded", "resized", "cropped", "recoloured", "mirrored"]
Damage: TypeAlias = Literal["truncated", "empty", "text", "wrong header"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
DAMAGES: tuple[Damage, ...] = get_args(Damage)


def variant(image: Image.Image, kind: Variant, dice: Dice) -> Image.Image:
    """Return the picture again, changed in a way that leaves it the same picture to anybody who looks."""
    if kind == "resized":
        scale = dice.between(0.7, 1.4)
        return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    if kind == "cropped":
        return _cropped(image, dice)
    if kind == "recoloured":
        warmer = ImageEnhance.Color(image).enhance(dice.pick((0.7, 1.3)))
        return ImageEnhance.Brightness(warmer).enhance(dice.pick((0.88, 1.12)))
    return ImageOps.mirror(image) if kind == "mirrored" else _compressed(image, dice.whole(30, 60))


def damaged(image: Image.Image, kind: Damage) -> bytes:
    """Return the bytes of a file that says it is this picture and cannot be read."""
    whole = _jpeg(image, 85)
    broken: dict[Damage, bytes] = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"<html><body><h1>403 Forbidden</h1></body></html>\n",
        "wrong header": b"\x00" * 16 + whole[16:],
    }
    return broken[kind]


def encoded(image: Image.Image, dice: Dice) -> tuple[str, bytes]:
    """Return a suffix and the bytes of the picture as JPEG (mostly), PNG or WebP."""
    kind = dice.weighted({"jpg": 8.0, "png": 1.0, "webp": 1.0})
    if kind == "jpg":
        return kind, _jpeg(image, dice.whole(70, 95))
    buffer = BytesIO()
    image.save(buffer, kind, quality=85)
    return kind, buffer.getvalue()


def _cropped(image: Image.Image, dice: Dice) -> Image.Image:
    left, top = (round(side * dice.between(0, 0.05)) for side in image.size)
    right, bottom = (round(side * (1 - dice.between(0, 0.05))) for side in image.size)
    return image.crop((left, top, right, bottom))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(BytesIO(_jpeg(image, quality)), formats=["JPEG"]).convert("RGB")


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
