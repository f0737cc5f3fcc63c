"""Drawn scenes whose truth is known exactly: one seed, one scene, the same on every machine with the same Pillow.

Everything that does not matter varies - colours, light, size, place, background, noise, blur, JPEG quality - so that
no single colour or position gives an answer away.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from embed.demo.drawing.canvas import Canvas, Dice
from embed.demo.drawing.faces import new_face, paint_face
from embed.demo.drawing.people import new_figure, paint_figure
from embed.demo.drawing.places import PLACES, paint_place
from embed.demo.drawing.things import ANIMALS, FOOD, OBJECTS, paint_thing
from embed.demo.spoiled import DAMAGES, VARIANTS, damaged, encoded, variant
from embed.demo.truth import Glasses, Kind, Mask, Scene, Truth

__all__ = ["Drawn", "Scene", "Truth", "draw", "write_scenes"]

FOLDERS = ("market", "archive/2023", "archive/2024", "uploads")
SEEDS_OF_FILES = 10_000_000_000  # training stays below this, so that no file of a demonstration was ever trained on

_KINDS: dict[Kind, float] = {
    "landscape": 8, "building": 6, "street": 8, "room": 7, "food": 6, "object": 7, "animal": 8,
    "portrait": 22, "person": 7, "child": 5, "group": 6, "far": 6, "edge": 4,
}  # fmt: skip
_MASKS: dict[Mask, float] = {"none": 26, "worn": 36, "chin": 12, "scarf": 10, "beard": 9, "hand": 7}
_GLASSES: dict[Glasses, float] = {"none": 26, "sunglasses": 34, "forehead": 20, "clear": 13, "hand": 7}
_OUTDOORS = ("street", "building", "fields", "mountains", "beach")
_LANDSCAPES = ("fields", "mountains", "beach")
_ADULTS = ("man", "woman")
_NOISE = np.random.default_rng(0).normal(0, 1, (512, 512, 1)).astype(np.float32)


@dataclass(frozen=True)
class Drawn:
    """One file of a set of drawn scenes: its name, its bytes and everything that is true of it."""

    name: str  # "market/00017.jpg"
    data: bytes
    truth: Truth | None  # None where no picture can be read from the bytes
    original: str = ""  # a near-duplicate: the name of the file that it repeats
    variant: str = ""  # a near-duplicate: how it differs, one of VARIANTS
    damage: str = ""  # one of DAMAGES, where the file is damaged on purpose


def write_scenes(count: int, seed: int, *, repeated: float = 0.1, broken: float = 0.02) -> Iterator[Drawn]:
    """Yield `count` files in a few folders: scenes, near-duplicates of earlier ones, and files damaged on purpose.

    `repeated` and `broken` are their shares. The same arguments give the same files.
    """
    dice = Dice(f"files {seed}")
    sources: list[tuple[str, Scene]] = []
    for index in range(count):
        name, lot = f"{dice.pick(FOLDERS)}/{index:05d}", dice.between(0, 1)
        if lot < broken:
            yield _damaged_file(name, dice, draw(_seed(seed, index)))
        elif lot < broken + repeated and sources:
            yield _near_duplicate(name, dice, dice.pick(sources))
        else:
            scene = draw(_seed(seed, index))
            suffix, data = encoded(scene.image, dice)
            sources.append((f"{name}.{suffix}", scene))
            yield Drawn(f"{name}.{suffix}", data, scene.truth)


def _seed(seed: int, index: int) -> int:
    return SEEDS_OF_FILES + seed * 1_000_000 + index


def _near_duplicate(name: str, dice: Dice, source: tuple[str, Scene]) -> Drawn:
    original, scene = source
    kind = dice.pick(VARIANTS)
    suffix, data = encoded(variant(scene.image, kind, dice), dice)
    return Drawn(f"{name}.{suffix}", data, scene.truth, original=original, variant=kind)


def _damaged_file(name: str, dice: Dice, scene: Scene) -> Drawn:
    kind = dice.pick(DAMAGES)
    return Drawn(f"{name}.jpg", damaged(scene.image, kind), None, damage=kind)


def draw(seed: int, only: Kind | None = None) -> Scene:
    """Draw the scene of a seed, at 128 to 224 px: of any kind, or only of one."""
    dice = Dice(f"scene {seed}")
    kind = dice.weighted(_KINDS) if only is None else only
    size = dice.between(132, 208)
    stretch = dice.between(0.93, 1.07)
    canvas = Canvas((round(size * stretch), round(size / stretch)), (0, 0, 0))
    truth = _paint(canvas, dice, kind)
    return Scene(_photographed(canvas.image, dice), truth)


def _paint(canvas: Canvas, dice: Dice, kind: Kind) -> Truth:
    if kind in {"portrait", "child"} and (kind == "portrait" or dice.chance(0.5)):
        return _portrait(canvas, dice, kind)
    if kind in {"person", "child"}:
        return _figures(canvas, dice, kind, 1, (0.5, 0.95))
    if kind == "group":
        return _figures(canvas, dice, kind, dice.whole(2, 6), (0.4, 0.85))
    if kind == "far":
        return _figures(canvas, dice, kind, dice.pick((1, 1, 1, 2, 3)), (0.2, 0.36))
    if kind == "edge":
        return _at_the_edge(canvas, dice)
    return _without_people(canvas, dice, kind)


def _without_people(canvas: Canvas, dice: Dice, kind: Kind) -> Truth:
    if kind in {"food", "object", "animal"}:
        things = {"food": FOOD, "object": OBJECTS, "animal": ANIMALS}[kind]
        subject, place = dice.pick(list(things)), dice.pick(PLACES) if dice.chance(0.6) else "plain"
        paint_place(canvas, dice, place)
        paint_thing(canvas, dice, subject)
        return Truth(kind, 0, place=place, subject=subject)
    place = dice.pick(_LANDSCAPES) if kind == "landscape" else str(kind)
    paint_place(canvas, dice, place)
    return Truth(kind, 0, place=place)


def _portrait(canvas: Canvas, dice: Dice, kind: Kind) -> Truth:
    place = dice.pick(PLACES) if dice.chance(0.6) else "plain"
    paint_place(canvas, dice, place)
    who = "child" if kind == "child" else dice.pick(_ADULTS)
    mask, glasses = dice.weighted(_MASKS), dice.weighted(_GLASSES)
    if mask == "beard" and who != "man":
        mask = "none"
    if glasses == "hand" and mask == "hand":
        glasses = "none"
    size = dice.between(0.17, 0.38)
    centre = (dice.between(0.5 - 0.5 * (0.5 - size), 0.5 + 0.5 * (0.5 - size)), dice.between(0.36, 0.46))
    paint_face(canvas, dice, new_face(dice, who, centre, size), (mask, glasses))
    return Truth(kind, 1, face=True, mask=mask, glasses=glasses, who=(who,), place=place)


def _figures(canvas: Canvas, dice: Dice, kind: Kind, people: int, heights: tuple[float, float]) -> Truth:
    place = dice.pick(_OUTDOORS) if kind == "far" or dice.chance(0.5) else dice.pick(PLACES)
    paint_place(canvas, dice, place)
    height, start = dice.between(*heights), dice.between(0, 1)
    seen = []
    for index in range(people):
        who = "child" if kind == "child" else dice.pick((*_ADULTS, "child") if people > 1 else _ADULTS)
        tall = height * (0.65 if who == "child" and kind != "child" else dice.between(0.9, 1.05))
        x = 0.12 + 0.76 * ((start + index / people + dice.between(-0.05, 0.05)) % 1)
        foot = (x, dice.between(max(tall + 0.04, 0.75), 0.98))
        paint_figure(canvas, dice, new_figure(dice, who, foot, tall))
        seen.append(who)
    return Truth(kind, people, who=tuple(sorted(set(seen))), place=place)


def _at_the_edge(canvas: Canvas, dice: Dice) -> Truth:
    place = dice.pick(PLACES)
    paint_place(canvas, dice, place)
    who, height = dice.pick((*_ADULTS, "child")), dice.between(0.7, 1.15)
    across = dice.between(0.03, 0.1)
    foot = (across if dice.chance(0.5) else 1 - across, dice.between(max(0.95, height * 0.9), 1.3))
    paint_figure(canvas, dice, new_figure(dice, who, foot, height))
    return Truth("edge", 1, who=(who,), place=place)


def _photographed(image: Image.Image, dice: Dice) -> Image.Image:
    """Return the picture as a camera might have it: tilted, in other light, soft, noisy, compressed."""
    if dice.chance(0.35):
        image = _tilted(image, dice.between(-8, 8))
    if dice.chance(0.7):
        image = ImageEnhance.Brightness(image).enhance(dice.between(0.55, 1.25))
    if dice.chance(0.4):
        image = ImageEnhance.Contrast(image).enhance(dice.between(0.6, 1.25))
    if dice.chance(0.25):
        image = ImageEnhance.Color(image).enhance(dice.pick((0.0, 0.3, 0.6, 1.4)))
    if dice.chance(0.25):
        image = image.filter(ImageFilter.BoxBlur(dice.between(0.3, 1.2)))
    if dice.chance(0.4):
        image = _noisy(image, dice)
    return _compressed(image, dice.whole(35, 95)) if dice.chance(0.4) else image


def _tilted(image: Image.Image, degrees: float) -> Image.Image:
    turned = image.rotate(degrees, Image.Resampling.BILINEAR)
    cut = abs(degrees) / 100  # what turning left black in the corners
    (width, height) = image.size
    box = (cut * width, cut * height, (1 - cut) * width, (1 - cut) * height)
    return turned.resize(image.size, Image.Resampling.BILINEAR, box)


def _noisy(image: Image.Image, dice: Dice) -> Image.Image:
    width, height = image.size
    top, left = dice.whole(0, 512 - height), dice.whole(0, 512 - width)
    grain = _NOISE[top : top + height, left : left + width] * dice.between(2, 14)
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer, formats=["JPEG"]).convert("RGB")
