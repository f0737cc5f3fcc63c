"""Faces large enough to say what they wear: masks, scarfs, beards, hands, and glasses of every kind."""

from dataclasses import dataclass

from embed.demo.drawing.canvas import Canvas, Colour, Dice, Point, mix, shade
from embed.demo.drawing.people import hair_colour
from embed.demo.truth import Glasses, Mask

_USUAL_MASKS: tuple[Colour, ...] = ((170, 210, 230), (240, 242, 245), (35, 35, 40), (160, 215, 190), (240, 190, 205))


@dataclass(frozen=True)
class Face:
    """One head, measured in half its height."""

    who: str  # "man", "woman", "child"
    centre: Point
    size: float  # half the head's height, as a share of the canvas
    turn: float  # how far the features lie from the middle, in shares of the size
    skin: Colour
    hair: Colour

    def at(self, across: float, down: float) -> Point:
        """Return a point of the head; (0, 0) is its middle, (0, 1) the chin."""
        return self.centre[0] + across * self.size, self.centre[1] + down * self.size

    def front(self, across: float, down: float) -> Point:
        """Return a point on the face, which may be turned a little to a side."""
        return self.at(across + self.turn, down)

    def radii(self, across: float, down: float) -> Point:
        """Return radii in shares of the canvas."""
        return across * self.size, down * self.size


def new_face(dice: Dice, who: str, centre: Point, size: float) -> Face:
    """Return a face with any skin and hair."""
    return Face(who, centre, size, dice.between(-0.14, 0.14), dice.skin(), hair_colour(dice))


def paint_face(canvas: Canvas, dice: Dice, face: Face, wearing: tuple[Mask, Glasses]) -> None:
    """Paint a head with shoulders and what it wears."""
    mask, glasses = wearing
    _hair_behind(canvas, dice, face)
    _shoulders(canvas, dice, face)
    _head(canvas, dice, face)
    _eyes(canvas, dice, face)
    _mouth_and_nose(canvas, dice, face)
    if mask == "beard":
        _beard(canvas, dice, face)
    _hair_above(canvas, dice, face, high=glasses == "forehead")
    lower = {"worn": _worn_mask, "chin": _chin_mask, "scarf": _scarf, "hand": _hand_before_mouth}
    upper = {"sunglasses": _sunglasses, "forehead": _pushed_up, "clear": _clear_glasses, "hand": _glasses_in_hand}
    later = [paint for paint in (lower.get(mask), upper.get(glasses)) if paint]
    for paint in later if dice.chance(0.5) else later[::-1]:
        paint(canvas, dice, face)


def _hair_behind(canvas: Canvas, dice: Dice, face: Face) -> None:
    long = {"man": 0.12, "woman": 0.8, "child": 0.35}[face.who]
    if dice.chance(long):
        down = dice.between(0.2, 0.9)
        canvas.rounded(face.at(0, down - 0.1), face.radii(dice.between(0.85, 1.1), 0.9 + down * 0.5), face.hair, 0.8)


def _shoulders(canvas: Canvas, dice: Dice, face: Face) -> None:
    clothes, wide = dice.colour(), dice.between(1.3, 1.9)
    canvas.rounded(face.at(0, 1.15), face.radii(0.36, 0.6), shade(face.skin, 0.88))
    canvas.rounded(face.at(0, 3.2), face.radii(wide, dice.between(1.75, 1.95)), clothes, 0.7)
    if dice.chance(0.4):
        collar = shade(clothes, dice.pick((0.6, 1.4)))
        canvas.shape((face.at(-0.45, 1.3), face.at(0.45, 1.3), face.at(0, 1.9)), collar)


def _head(canvas: Canvas, dice: Dice, face: Face) -> None:
    wide = 0.85 if face.who == "child" else dice.between(0.7, 0.8)
    for side in (-1, 1):
        canvas.ellipse(face.at(side * wide, 0.05), face.radii(0.12, 0.2), shade(face.skin, 0.9))
    canvas.ellipse(face.centre, face.radii(wide, 1.0), face.skin)
    if dice.chance(0.3):
        canvas.arc(face.centre, face.radii(wide * 0.97, 0.97), (270, 90), (shade(face.skin, 0.85), 0.1 * face.size))


def _eyes(canvas: Canvas, dice: Dice, face: Face) -> None:
    wide, high = dice.between(0.12, 0.19), dice.between(0.06, 0.12)
    iris = dice.pick(((40, 25, 15), (70, 45, 25), (60, 90, 130), (70, 100, 60), (20, 18, 18)))
    brow = mix(face.hair, (20, 15, 15), 0.4)
    deep = dice.chance(0.2)
    for side in (-0.33, 0.33):
        if deep:
            canvas.ellipse(face.front(side, -0.08), face.radii(wide * 1.5, high * 2), shade(face.skin, 0.75))
        canvas.ellipse(face.front(side, -0.06), face.radii(wide, high), (245, 243, 240))
        canvas.ellipse(face.front(side, -0.06), face.radii(high * 0.9, high * 0.95), iris)
        lift = dice.between(0.2, 0.28)
        canvas.line((face.front(side - 0.17, -lift + 0.02), face.front(side + 0.17, -lift)), brow, 0.07 * face.size)


def _mouth_and_nose(canvas: Canvas, dice: Dice, face: Face) -> None:
    dark = shade(face.skin, 0.72)
    canvas.line((face.front(0.02, 0.0), face.front(0.09, 0.28), face.front(-0.04, 0.31)), dark, 0.05 * face.size)
    lips = mix(face.skin, (170, 40, 50), dice.between(0.4, 0.9))
    wide, y = dice.between(0.2, 0.36), dice.between(0.54, 0.6)
    style = dice.pick(("smile", "closed", "open", "teeth"))
    if style == "closed":
        canvas.ellipse(face.front(0, y), face.radii(wide, 0.06), lips)
    elif style == "open":
        canvas.ellipse(face.front(0, y), face.radii(wide * 0.7, 0.13), lips)
        canvas.ellipse(face.front(0, y), face.radii(wide * 0.5, 0.08), (70, 15, 20))
    else:
        canvas.slice(face.front(0, y - 0.08), face.radii(wide, 0.22), (10, 170), lips)
        if style == "teeth":
            canvas.slice(face.front(0, y - 0.06), face.radii(wide * 0.8, 0.14), (15, 165), (248, 246, 240))


def _hair_above(canvas: Canvas, dice: Dice, face: Face, *, high: bool) -> None:
    if dice.chance({"man": 0.15, "woman": 0.02, "child": 0.05}[face.who]):
        return
    start = dice.between(190, 205) if high else dice.between(185, 212)
    canvas.slice(face.at(0, -0.04), face.radii(0.86, 1.06), (start, 540 - start), face.hair)
    if dice.chance(0.2) and not high:
        canvas.line((face.front(-0.5, -0.45), face.front(0.5, -0.45)), face.hair, 0.2 * face.size)
    if dice.chance(0.12):
        _hat(canvas, dice, face)
    elif dice.chance(0.07):
        canvas.line((face.at(-0.7, -0.5), face.at(0.7, -0.5)), dice.colour(), 0.18 * face.size)


def _hat(canvas: Canvas, dice: Dice, face: Face) -> None:
    colour = dice.colour()
    canvas.slice(face.at(0, -0.4), face.radii(0.9, 0.85), (180, 360), colour)
    if dice.chance(0.6):
        canvas.rounded(face.at(0, -0.42), face.radii(dice.between(0.9, 1.3), 0.08), shade(colour, 0.7))


def _beard(canvas: Canvas, dice: Dice, face: Face) -> None:
    colour = mix(face.hair, dice.pick(((240, 240, 240), (20, 15, 12), face.hair)), dice.between(0, 0.8))
    up, down = dice.between(0.15, 0.35), dice.between(0.95, 1.3)
    jaw = ((0.66, 0.7), (0.35, down), (-0.35, down), (-0.66, 0.7))
    outline = ((-0.74, up), (-0.45, 0.38), (0, 0.36), (0.45, 0.38), (0.74, up), *jaw)
    canvas.shape([face.at(*point) for point in outline], colour)
    lips, wide = mix(face.skin, (170, 40, 50), dice.between(0.4, 0.8)), dice.between(0.2, 0.3)
    if dice.chance(0.5):
        canvas.slice(face.front(0, 0.5), face.radii(wide, 0.17), (5, 175), lips)
    else:
        canvas.ellipse(face.front(0, 0.58), face.radii(wide, 0.09), lips)


def _mask_colour(dice: Dice, face: Face) -> Colour:
    """Return any colour that can be told from the skin: a mask that nobody could see would be no truth."""
    while True:
        colour = dice.pick((*_USUAL_MASKS, dice.colour(), dice.colour()))
        if sum(abs(a - b) for a, b in zip(colour, face.skin, strict=True)) > 90:  # noqa: PLR2004 - of 765
            return colour


def _worn_mask(canvas: Canvas, dice: Dice, face: Face) -> None:
    colour, top = _mask_colour(dice, face), dice.between(0.02, 0.16)
    strap = shade(colour, 0.85)
    for side in (-1, 1):
        canvas.line((face.at(side * 0.8, -0.02), face.front(side * 0.5, top + 0.18)), strap, 0.035 * face.size)
        canvas.line((face.at(side * 0.78, 0.15), face.front(side * 0.5, 0.75)), strap, 0.035 * face.size)
    if dice.chance(0.25):
        canvas.ellipse(face.front(0, top + 0.46), face.radii(dice.between(0.46, 0.56), 0.48), colour)
        if dice.chance(0.5):
            canvas.rounded(face.front(0.18, top + 0.55), face.radii(0.12, 0.09), shade(colour, 0.8))
        return
    low = dice.between(0.92, 1.06)
    outline = (
        (-0.14, top),
        (0.14, top),
        (0.62, top + 0.2),
        (0.6, 0.72),
        (0.3, low),
        (-0.3, low),
        (-0.6, 0.72),
        (-0.62, top + 0.2),
    )
    canvas.shape([face.front(*point) for point in outline], colour)
    _pattern(canvas, dice, face, (colour, top, low))


def _pattern(canvas: Canvas, dice: Dice, face: Face, cloth: tuple[Colour, float, float]) -> None:
    colour, top, low = cloth
    kind = dice.pick(("pleats", "pleats", "dots", "none"))
    if kind == "pleats":
        for index in range(3):
            y = top + (low - top) * (0.35 + 0.2 * index)
            canvas.line((face.front(-0.5, y), face.front(0.5, y)), shade(colour, 0.86), 0.03 * face.size)
    elif kind == "dots":
        spots = dice.colour()
        for _ in range(dice.whole(4, 9)):
            canvas.ellipse(
                face.front(dice.between(-0.4, 0.4), dice.between(top + 0.2, low - 0.15)), face.radii(0.05, 0.05), spots
            )


def _chin_mask(canvas: Canvas, dice: Dice, face: Face) -> None:
    colour, top = _mask_colour(dice, face), dice.between(0.78, 0.86)
    low = top + dice.between(0.3, 0.5)
    for side in (-1, 1):
        canvas.line(
            (face.at(side * 0.78, 0.12), face.front(side * 0.5, top + 0.1)), shade(colour, 0.85), 0.035 * face.size
        )
    outline = (
        (-0.56, top - 0.06),
        (0, top + 0.05),
        (0.56, top - 0.06),
        (0.5, low - 0.1),
        (0.25, low),
        (-0.25, low),
        (-0.5, low - 0.1),
    )
    canvas.shape([face.front(*point) for point in outline], colour)
    if dice.chance(0.5):
        y = (top + low) / 2 + 0.03
        canvas.line((face.front(-0.42, y), face.front(0.42, y)), shade(colour, 0.86), 0.03 * face.size)


def _scarf(canvas: Canvas, dice: Dice, face: Face) -> None:
    colour, top = _mask_colour(dice, face) if dice.chance(0.5) else dice.colour(), dice.between(0.88, 1.02)
    low = top + dice.between(0.45, 0.8)
    canvas.rounded(face.at(0, (top + low) / 2), face.radii(dice.between(0.65, 0.9), (low - top) / 2), colour, 0.8)
    stripe = shade(colour, dice.pick((0.7, 1.35)))
    for index in range(dice.whole(0, 4)):
        x = -0.5 + 0.3 * index
        canvas.line((face.at(x, top + 0.08), face.at(x + 0.1, low - 0.08)), stripe, 0.08 * face.size)
    if dice.chance(0.6):
        x = dice.pick((-0.4, 0.35))
        canvas.box(face.at(x, low - 0.1), face.at(x + 0.35, low + dice.between(0.4, 1.0)), shade(colour, 0.9))


def _hand(canvas: Canvas, face: Face, palm: Point, wide: float) -> None:
    skin = shade(face.skin, 0.93)
    edge = shade(face.skin, 0.68)
    for index in range(4):
        x = palm[0] - wide * 0.75 + index * wide * 0.5
        finger = (face.at(x, palm[1]), face.at(x, palm[1] - 0.4))
        canvas.line(finger, edge, 0.17 * face.size)
        canvas.line(finger, skin, 0.13 * face.size)
    canvas.ellipse(face.at(*palm), face.radii(wide, 0.26), skin)


def _hand_before_mouth(canvas: Canvas, dice: Dice, face: Face) -> None:
    palm = (face.turn + dice.between(-0.08, 0.08), dice.between(0.72, 0.82))
    side = dice.pick((-1, 1))
    canvas.line((face.at(palm[0], palm[1] + 0.1), face.at(side * 1.0, 2.4)), shade(face.skin, 0.8), 0.34 * face.size)
    _hand(canvas, face, palm, dice.between(0.34, 0.42))


def _lenses(canvas: Canvas, dice: Dice, face: Face, at: tuple[Point, float]) -> None:
    (x, y), scale = at
    colour = dice.dark()
    frame = dice.colour((0, 0.8), (0.05, 0.9)) if dice.chance(0.3) else colour
    wide, high = dice.between(0.25, 0.31) * scale, dice.between(0.17, 0.25) * scale
    style = dice.pick(("round", "square", "pilot"))
    gap = 0.33 * scale
    canvas.line((face.at(x - gap, y - high * 0.4), face.at(x + gap, y - high * 0.4)), frame, 0.07 * face.size)
    for side in (-gap, gap):
        radii, edge = face.radii(wide, high), face.radii(wide + 0.04, high + 0.04)
        if style == "square":
            canvas.rounded(face.at(x + side, y), edge, frame, 0.5)
            canvas.rounded(face.at(x + side, y), radii, colour, 0.5)
        else:
            canvas.ellipse(face.at(x + side, y), edge, frame)
            canvas.ellipse(face.at(x + side, y), radii, colour)
        if style == "pilot":
            canvas.box(face.at(x + side - wide * 0.85, y - high), face.at(x + side + wide * 0.85, y), colour)
    if dice.chance(0.4):
        for side in (-gap, gap):
            glint = (face.at(x + side - wide * 0.4, y + high * 0.2), face.at(x + side, y - high * 0.5))
            canvas.line(glint, shade(colour, 2.5) if max(colour) > 20 else (90, 90, 95), 0.05 * face.size)  # noqa: PLR2004 - black has no lighter shade


def _sunglasses(canvas: Canvas, dice: Dice, face: Face) -> None:
    for side in (-1, 1):
        canvas.line((face.at(side * 0.78, -0.1), face.front(side * 0.5, -0.1)), (25, 25, 28), 0.05 * face.size)
    _lenses(canvas, dice, face, ((face.turn, dice.between(-0.09, -0.02)), dice.between(1.0, 1.12)))


def _pushed_up(canvas: Canvas, dice: Dice, face: Face) -> None:
    y = dice.between(-0.86, -0.58)
    for side in (-1, 1):
        canvas.line((face.at(side * 0.78, -0.15), face.front(side * 0.5, y)), (40, 40, 44), 0.04 * face.size)
    _lenses(canvas, dice, face, ((face.turn, y), dice.between(0.9, 1.08)))


def _clear_glasses(canvas: Canvas, dice: Dice, face: Face) -> None:
    frame, y = dice.colour((0, 0.9), (0.05, 0.7)), dice.between(-0.08, -0.02)
    wide, high, line = dice.between(0.24, 0.29), dice.between(0.17, 0.25), dice.between(0.025, 0.07) * face.size
    canvas.line((face.front(-0.1, y - 0.03), face.front(0.1, y - 0.03)), frame, line)
    for side in (-1, 1):
        canvas.ring(face.front(side * 0.34, y), face.radii(wide, high), frame, line)
        canvas.line((face.front(side * 0.6, y - 0.04), face.at(side * 0.8, y - 0.06)), frame, line)
        if dice.chance(0.25):
            glint = (face.front(side * 0.34 - 0.1, y + 0.08), face.front(side * 0.34 + 0.02, y - 0.12))
            canvas.line(glint, (235, 240, 245), 0.03 * face.size)


def _glasses_in_hand(canvas: Canvas, dice: Dice, face: Face) -> None:
    side = dice.pick((-1, 1))
    x, y = side * dice.between(0.55, 0.8), dice.between(1.3, 1.6)
    canvas.line((face.at(x, y + 0.2), face.at(x + side * 0.4, 2.8)), shade(face.skin, 0.8), 0.3 * face.size)
    _hand(canvas, face, (x, y + 0.2), 0.28)
    _lenses(canvas, dice, face, ((x, y - 0.1), dice.between(0.75, 0.95)))
