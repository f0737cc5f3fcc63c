"""Food, objects and animals. Many are round, dark or skin-coloured: none of that makes a person."""

import math
from collections.abc import Callable

from embed.demo.drawing.canvas import Canvas, Dice, around, hsv, shade

Painter = Callable[[Canvas, Dice, float, float], None]  # canvas, dice, centre x, size; things stand at y = 0.55


def paint_thing(canvas: Canvas, dice: Dice, subject: str) -> None:
    """Paint one thing, anywhere near the middle, in any size that can be recognised."""
    _PAINTERS[subject](canvas, dice, dice.between(0.35, 0.65), dice.between(0.14, 0.32))


def _fruit(hue: float, spread: float, long: float) -> Painter:
    def paint(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
        colour = hsv(hue + dice.between(-spread, spread), dice.between(0.6, 1), dice.between(0.5, 1))
        for index in range(dice.whole(1, 3)):
            centre = (x + index * size * 0.9 - 0.1, 0.58 + dice.between(-0.08, 0.12))
            canvas.ellipse(centre, (size * long, size), shade(colour, dice.between(0.8, 1.1)))
            canvas.ellipse(
                (centre[0] - size * 0.3, centre[1] - size * 0.4), (size * 0.15, size * 0.12), shade(colour, 1.4)
            )
            canvas.line(
                ((centre[0], centre[1] - size), (centre[0] + 0.02, centre[1] - size * 1.3)), (80, 55, 30), 0.015
            )

    return paint


def _banana(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = hsv(0.14, dice.between(0.6, 1), dice.between(0.7, 1))
    for index in range(dice.whole(1, 3)):
        centre = (x, 0.45 + index * 0.07)
        canvas.arc(centre, (size * 1.2, size * 0.9), (20, 160), (shade(colour, 1 - index * 0.12), size * 0.3))


def _pizza(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    radius = size * 1.3
    canvas.ellipse((x, 0.55), (radius, radius), (200, 150, 80))
    canvas.ellipse((x, 0.55), (radius * 0.86, radius * 0.86), (240, 200, 100))
    for _ in range(dice.whole(5, 9)):
        spot = around((x, 0.55), radius * dice.between(0, 0.7), dice.between(0, math.tau))
        canvas.ellipse(spot, (radius * 0.13, radius * 0.13), dice.pick(((190, 50, 35), (60, 110, 50), (40, 35, 40))))


def _cake(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    base, cream = dice.colour((0.2, 0.6), (0.4, 0.9)), dice.colour((0, 0.5), (0.8, 1))
    canvas.box((x - size, 0.5), (x + size, 0.5 + size), base)
    canvas.ellipse((x, 0.5), (size, size * 0.3), cream)
    for index in range(dice.whole(1, 5)):
        left = x - size * 0.7 + index * size * 0.35
        canvas.line(((left, 0.48), (left, 0.48 - size * 0.5)), dice.colour(), 0.02)
        canvas.ellipse((left, 0.46 - size * 0.5), (0.015, 0.025), (255, 190, 60))


def _bread(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = hsv(dice.between(0.06, 0.1), dice.between(0.4, 0.7), dice.between(0.5, 0.9))
    canvas.rounded((x, 0.58), (size * 1.5, size * 0.6), colour, 1.0)
    for index in range(dice.whole(2, 4)):
        left = x - size + index * size * 0.6
        canvas.line(((left, 0.58 - size * 0.35), (left + size * 0.3, 0.58 + size * 0.1)), shade(colour, 0.75), 0.02)


def _soup(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    bowl = dice.colour((0, 0.7), (0.4, 1))
    canvas.slice((x, 0.55), (size * 1.2, size * 1.1), (0, 180), bowl)
    canvas.ellipse((x, 0.55), (size * 1.2, size * 0.35), shade(bowl, 0.8))
    canvas.ellipse((x, 0.55), (size * 1.05, size * 0.27), dice.colour((0.4, 0.9), (0.4, 0.9)))


def _burger(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    bun = hsv(dice.between(0.06, 0.1), 0.6, dice.between(0.6, 0.9))
    canvas.slice((x, 0.5), (size * 1.2, size), (180, 360), bun)
    for index, colour in enumerate(((90, 160, 60), (110, 60, 35), (240, 190, 60))):
        top = 0.5 + index * size * 0.2
        canvas.rounded((x, top + size * 0.1), (size * 1.25, size * 0.12), colour)
    canvas.rounded((x, 0.5 + size * 0.8), (size * 1.2, size * 0.25), bun)


def _ball(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.skin() if dice.chance(0.3) else dice.colour()
    canvas.ellipse((x, 0.55), (size, size), colour)
    for _ in range(dice.whole(0, 3)):
        canvas.arc((x, 0.55), (size * dice.between(0.2, 0.9), size), (90, 270), (shade(colour, 0.5), 0.012))


def _bottle(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour()
    canvas.rounded((x, 0.62), (size * 0.45, size), colour, 0.4)
    canvas.box((x - size * 0.15, 0.62 - size * 1.7), (x + size * 0.15, 0.62 - size * 0.8), colour)
    canvas.box((x - size * 0.45, 0.6), (x + size * 0.45, 0.6 + size * 0.5), dice.colour((0, 0.5), (0.7, 1)))


def _cup(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour((0, 0.9), (0.3, 1))
    canvas.ring((x + size * 0.8, 0.58), (size * 0.4, size * 0.4), colour, size * 0.15)
    canvas.rounded((x, 0.58), (size * 0.8, size * 0.85), colour, 0.3)
    canvas.ellipse((x, 0.58 - size * 0.75), (size * 0.78, size * 0.15), (70, 45, 30))


def _book(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour()
    canvas.box((x - size, 0.55 - size * 0.7), (x + size, 0.55 + size * 0.7), colour)
    canvas.box((x - size * 0.95, 0.55 - size * 0.65), (x, 0.55 + size * 0.65), (240, 235, 220))
    canvas.line(((x, 0.55 - size * 0.7), (x, 0.55 + size * 0.7)), shade(colour, 0.5), 0.02)


def _lamp(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    canvas.box((x - 0.015, 0.5), (x + 0.015, 0.5 + size * 1.2), (90, 80, 70))
    canvas.ellipse((x, 0.5 + size * 1.2), (size * 0.5, size * 0.12), (90, 80, 70))
    shape = ((x - size, 0.52), (x - size * 0.5, 0.52 - size), (x + size * 0.5, 0.52 - size), (x + size, 0.52))
    canvas.shape(shape, dice.colour((0, 0.7), (0.6, 1)))


def _chair(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour((0.1, 0.9), (0.2, 0.9))
    canvas.box((x - size * 0.7, 0.55 - size * 1.3), (x - size * 0.5, 0.55 + size * 1.1), colour)
    canvas.box((x - size * 0.7, 0.55 - size * 1.2), (x - size * 0.45, 0.55), colour)
    canvas.box((x - size * 0.7, 0.55), (x + size * 0.7, 0.55 + size * 0.18), shade(colour, 0.85))
    canvas.box((x + size * 0.5, 0.55), (x + size * 0.7, 0.55 + size * 1.1), colour)


def _car(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour, size = dice.colour(), size * 1.2
    canvas.rounded((x, 0.55 - size * 0.45), (size * 0.65, size * 0.4), shade(colour, 0.9), 0.6)
    canvas.box((x - size * 0.5, 0.55 - size * 0.7), (x + size * 0.5, 0.55 - size * 0.3), (60, 75, 90))
    canvas.rounded((x, 0.55), (size * 1.15, size * 0.35), colour, 0.6)
    for side in (-0.65, 0.65):
        canvas.ellipse((x + side * size, 0.55 + size * 0.35), (size * 0.24, size * 0.24), (25, 25, 28))
        canvas.ellipse((x + side * size, 0.55 + size * 0.35), (size * 0.1, size * 0.1), (170, 170, 175))


def _glasses(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.dark()
    for side in (-0.75, 0.75):
        canvas.ellipse((x + side * size, 0.55), (size * 0.6, size * 0.5), colour)
    canvas.line(((x - size * 0.3, 0.52), (x + size * 0.3, 0.52)), colour, 0.02)
    canvas.line(((x - size * 1.3, 0.5), (x - size * 1.6, 0.38)), colour, 0.02)
    canvas.line(((x + size * 1.3, 0.5), (x + size * 1.6, 0.38)), colour, 0.02)


def _animal(ears: str, long: float, tail: float) -> Painter:
    def paint(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
        fur = hsv(dice.between(0.03, 0.13), dice.between(0, 0.7), dice.between(0.15, 0.95))
        dark, side = shade(fur, 0.7), dice.pick((-1, 1))
        half, ground = size * long, 0.62 + size * 0.5
        for leg in (-0.8, -0.5, 0.5, 0.8):
            canvas.line(((x + leg * half, 0.6), (x + leg * half, ground + size * 0.35)), dark, size * 0.16)
        canvas.line(((x - side * half, 0.55), (x - side * (half + size * tail), 0.5 - size * tail)), fur, size * 0.14)
        canvas.ellipse((x, 0.56), (half, size * 0.5), fur)
        head = (x + side * half, 0.56 - size * 0.55)
        for ear in (-0.28, 0.28):
            _ear(canvas, ears, (head[0] + ear * size, head[1] - size * 0.3), size, dark)
        canvas.ellipse(head, (size * 0.42, size * 0.38), fur)
        canvas.ellipse(
            (head[0] + side * size * 0.3, head[1] + size * 0.12), (size * 0.22, size * 0.15), shade(fur, 1.2)
        )
        canvas.ellipse((head[0] + side * size * 0.45, head[1] + size * 0.08), (size * 0.07, size * 0.06), (20, 18, 18))
        canvas.ellipse((head[0] + side * size * 0.1, head[1] - size * 0.08), (size * 0.06, size * 0.06), (20, 18, 18))

    return paint


def _ear(canvas: Canvas, kind: str, at: tuple[float, float], size: float, colour: tuple[int, int, int]) -> None:
    x, y = at
    if kind == "pointed":
        canvas.shape(
            ((x - size * 0.15, y + size * 0.15), (x, y - size * 0.3), (x + size * 0.15, y + size * 0.15)), colour
        )
    elif kind == "long":
        canvas.ellipse((x, y - size * 0.25), (size * 0.1, size * 0.4), colour)
    else:
        canvas.ellipse((x, y + size * 0.15), (size * 0.13, size * 0.25), colour)


def _face_of_animal(ears: str) -> Painter:
    def paint(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
        fur = hsv(dice.between(0.03, 0.13), dice.between(0, 0.7), dice.between(0.2, 0.95))
        size = size * 1.5
        for ear in (-0.6, 0.6):
            _ear(canvas, ears, (x + ear * size, 0.55 - size * 0.75), size * 1.3, shade(fur, 0.7))
        canvas.ellipse((x, 0.55), (size * 0.9, size * 0.8), fur)
        canvas.ellipse((x, 0.55 + size * 0.35), (size * 0.42, size * 0.32), shade(fur, 1.25))
        for eye in (-0.36, 0.36):
            canvas.ellipse((x + eye * size, 0.55 - size * 0.15), (size * 0.11, size * 0.13), (25, 22, 20))
        canvas.ellipse((x, 0.55 + size * 0.2), (size * 0.13, size * 0.09), (30, 22, 22))

    return paint


def _bird(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour()
    for leg in (-0.15, 0.15):
        canvas.line(((x + leg * size, 0.55), (x + leg * size, 0.55 + size)), (200, 140, 50), 0.012)
    canvas.ellipse((x, 0.55), (size * 0.8, size * 0.55), colour)
    canvas.ellipse((x + size * 0.65, 0.55 - size * 0.5), (size * 0.35, size * 0.33), colour)
    canvas.shape(((x + size, 0.5 - size * 0.5), (x + size * 1.35, 0.55 - size * 0.45), (x + size, 0.55 - size * 0.35)),
                 (230, 150, 40))  # fmt: skip
    canvas.ellipse((x + size * 0.72, 0.55 - size * 0.57), (0.013, 0.013), (10, 10, 10))
    canvas.shape(((x - size * 0.6, 0.55), (x - size * 1.3, 0.45), (x - size * 1.2, 0.6)), shade(colour, 0.7))
    canvas.ellipse((x - size * 0.1, 0.55), (size * 0.45, size * 0.25), shade(colour, 0.75))


def _fish(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
    colour = dice.colour((0.3, 1), (0.4, 1))
    canvas.shape(((x - size, 0.55), (x - size * 1.7, 0.55 - size * 0.5), (x - size * 1.7, 0.55 + size * 0.5)), colour)
    canvas.ellipse((x, 0.55), (size * 1.2, size * 0.6), colour)
    canvas.ellipse((x + size * 0.7, 0.55 - size * 0.12), (size * 0.14, size * 0.14), (245, 245, 245))
    canvas.ellipse((x + size * 0.73, 0.55 - size * 0.12), (size * 0.07, size * 0.07), (10, 10, 10))


FOOD: dict[str, Painter] = {
    "apple": _fruit(0.0, 0.04, 1.0),
    "orange": _fruit(0.075, 0.015, 1.0),
    "pear": _fruit(0.2, 0.04, 0.75),
    "banana": _banana,
    "pizza": _pizza,
    "cake": _cake,
    "bread": _bread,
    "soup": _soup,
    "burger": _burger,
}
OBJECTS: dict[str, Painter] = {
    "ball": _ball,
    "bottle": _bottle,
    "cup": _cup,
    "book": _book,
    "lamp": _lamp,
    "chair": _chair,
    "car": _car,
    "pair of sunglasses": _glasses,
}


def _either(*painters: Painter) -> Painter:
    def paint(canvas: Canvas, dice: Dice, x: float, size: float) -> None:
        dice.pick(painters)(canvas, dice, x, size)

    return paint


ANIMALS: dict[str, Painter] = {
    "dog": _either(_animal("hanging", 0.9, 0.3), _face_of_animal("hanging")),
    "cat": _either(_animal("pointed", 0.8, 0.6), _face_of_animal("pointed")),
    "rabbit": _either(_animal("long", 0.6, 0.1), _face_of_animal("long")),
    "horse": _animal("pointed", 1.1, 0.4),
    "bird": _bird,
    "fish": _fish,
}
_PAINTERS = {**FOOD, **OBJECTS, **ANIMALS}
