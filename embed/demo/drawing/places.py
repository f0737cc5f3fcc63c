"""Places with nobody in them: streets, buildings, rooms, fields, mountains, beaches, plain walls."""

from collections.abc import Callable

from embed.demo.drawing.canvas import Canvas, Colour, Dice, Point, shade


def paint_place(canvas: Canvas, dice: Dice, place: str) -> None:
    """Paint a place over the whole canvas."""
    _PAINTERS[place](canvas, dice)


def _street(canvas: Canvas, dice: Dice) -> None:
    horizon = dice.between(0.45, 0.7)
    _sky(canvas, dice, horizon)
    left = -0.1
    while left < 1:
        width = dice.between(0.16, 0.4)
        _facade(canvas, dice, (left, horizon - dice.between(0.2, 0.6)), (left + width, horizon + 0.01))
        left += width + dice.pick((0.0, 0.0, 0.02, 0.08))
    ground = dice.colour((0, 0.15), (0.25, 0.75))
    canvas.box((0, horizon), (1, 1), ground)
    if dice.chance(0.7):
        _road(canvas, dice, horizon)
    for _ in range(dice.whole(0, 4)):
        dice.pick((_lamp, _sign, _tree, _car, _hydrant, _bin))(canvas, dice, dice.between(horizon, 0.95))


def _building(canvas: Canvas, dice: Dice) -> None:
    ground = dice.between(0.72, 0.95)
    _sky(canvas, dice, ground)
    width, height = dice.between(0.3, 0.5), dice.between(0.4, 0.8)
    middle = dice.between(0.4, 0.6)
    left, right, top = middle - width, middle + width, ground - height
    colour = _facade(canvas, dice, (left, top), (right, ground))
    if dice.chance(0.6):
        canvas.shape(
            ((left - 0.04, top), (middle, top - dice.between(0.1, 0.3)), (right + 0.04, top)), shade(colour, 0.6)
        )
    canvas.box((0, ground), (1, 1), dice.colour((0, 0.6), (0.25, 0.8)))
    if dice.chance(0.5):
        dice.pick((_tree, _lamp, _sign))(canvas, dice, dice.between(ground, 0.97))


def _room(canvas: Canvas, dice: Dice) -> None:
    floor = dice.between(0.6, 0.85)
    wall = dice.colour((0, 0.6), (0.3, 1))
    canvas.fade((0, floor), wall, shade(wall, dice.between(0.75, 1.1)))
    canvas.box((0, floor), (1, 1), dice.colour((0.1, 0.7), (0.2, 0.85)))
    for _ in range(dice.whole(1, 3)):
        dice.pick((_window, _picture, _clock, _shelf))(canvas, dice, floor)
    for _ in range(dice.whole(1, 3)):
        dice.pick((_table, _sofa, _chair, _floor_lamp, _cupboard, _coat_stand))(canvas, dice, floor)


def _fields(canvas: Canvas, dice: Dice) -> None:
    horizon = dice.between(0.3, 0.7)
    _sky(canvas, dice, horizon)
    top = horizon
    for _ in range(dice.whole(1, 4)):
        canvas.box((0, top), (1, 1), dice.colour((0.3, 0.9), (0.25, 0.85)))
        top += dice.between(0.05, 0.3)
    for _ in range(dice.whole(0, 5)):
        dice.pick((_tree, _tree, _bush, _post, _bale, _rock))(canvas, dice, dice.between(horizon, 0.95))


def _mountains(canvas: Canvas, dice: Dice) -> None:
    horizon = dice.between(0.5, 0.85)
    _sky(canvas, dice, horizon)
    for _ in range(dice.whole(2, 5)):
        peak, half, top = dice.between(0, 1), dice.between(0.2, 0.5), horizon - dice.between(0.15, 0.5)
        colour = dice.colour((0, 0.5), (0.2, 0.8))
        canvas.shape(((peak - half, horizon), (peak, top), (peak + half, horizon)), colour)
        if dice.chance(0.5):
            snow = 0.3
            down = top + snow * (horizon - top)
            canvas.shape(((peak - half * snow, down), (peak, top), (peak + half * snow, down)), (240, 243, 248))
    canvas.box((0, horizon), (1, 1), dice.colour((0.1, 0.8), (0.2, 0.8)))
    for _ in range(dice.whole(0, 4)):
        dice.pick((_tree, _rock, _bush, _post))(canvas, dice, dice.between(horizon, 0.97))


def _beach(canvas: Canvas, dice: Dice) -> None:
    horizon, shore = dice.between(0.3, 0.5), dice.between(0.55, 0.8)
    _sky(canvas, dice, horizon)
    sea = dice.colour((0.3, 0.9), (0.3, 0.9))
    canvas.fade((horizon, shore), sea, shade(sea, 1.25))
    canvas.box((0, shore), (1, 1), dice.colour((0.15, 0.55), (0.5, 0.95)))
    for _ in range(dice.whole(0, 3)):
        dice.pick((_palm, _rock, _umbrella, _post, _boat))(canvas, dice, dice.between(shore, 0.95))


def _plain(canvas: Canvas, dice: Dice) -> None:
    colour = dice.colour()
    canvas.fade((0, 1), colour, shade(colour, dice.between(0.6, 1.3)))
    if dice.chance(0.4):
        for _ in range(dice.whole(1, 6)):
            size = dice.between(0.05, 0.4)
            canvas.ellipse(
                (dice.between(0, 1), dice.between(0, 1)), (size, size), shade(colour, dice.between(0.7, 1.3))
            )
    elif dice.chance(0.3):
        stripe, step = shade(colour, dice.between(0.7, 1.3)), dice.between(0.08, 0.3)
        for index in range(int(1 / step) + 1):
            canvas.box((index * step, 0), (index * step + step / 2, 1), stripe)


_PAINTERS: dict[str, Callable[[Canvas, Dice], None]] = {
    "street": _street,
    "building": _building,
    "room": _room,
    "fields": _fields,
    "mountains": _mountains,
    "beach": _beach,
    "plain": _plain,
}
PLACES = tuple(_PAINTERS)


def _sky(canvas: Canvas, dice: Dice, down_to: float) -> None:
    top = dice.colour((0, 0.7), (0.3, 1))
    canvas.fade((0, down_to), top, dice.colour((0, 0.4), (0.5, 1)))
    if dice.chance(0.3):
        canvas.ellipse((dice.between(0, 1), dice.between(0.05, 0.3)), _same(dice.between(0.03, 0.1)), (255, 236, 170))
    for _ in range(dice.whole(0, 3) if dice.chance(0.5) else 0):
        centre = (dice.between(0, 1), dice.between(0.05, 0.35))
        canvas.ellipse(centre, (dice.between(0.06, 0.2), dice.between(0.02, 0.06)), (240, 240, 245))


def _facade(canvas: Canvas, dice: Dice, corner: Point, far_corner: Point) -> Colour:
    colour = dice.colour((0, 0.7), (0.25, 0.95))
    canvas.box(corner, far_corner, colour)
    (left, top), (right, bottom) = corner, far_corner
    window = dice.pick((shade(colour, 0.45), (40, 50, 70), (250, 225, 140), (190, 215, 235)))
    across, down = dice.whole(2, 4), dice.whole(2, 5)
    step_x, step_y = (right - left) / across, (bottom - top) / (down + 1)
    for row in range(down):
        for column in range(across):
            x, y = left + (column + 0.25) * step_x, top + (row + 0.3) * step_y
            canvas.box((x, y), (x + step_x * 0.5, y + step_y * 0.5), window)
    if dice.chance(0.6):
        door = dice.between(left, right - step_x * 0.4)
        canvas.box((door, bottom - step_y * 0.9), (door + step_x * 0.4, bottom), dice.colour((0.2, 0.9), (0.15, 0.6)))
    return colour


def _road(canvas: Canvas, dice: Dice, horizon: float) -> None:
    middle, half = dice.between(0.2, 0.8), dice.between(0.2, 0.6)
    road = dice.colour((0, 0.1), (0.2, 0.5))
    canvas.shape(((middle - 0.04, horizon), (middle + 0.04, horizon), (middle + half, 1), (middle - half, 1)), road)
    for step in range(3):
        y = horizon + (1 - horizon) * (0.2 + 0.28 * step)
        canvas.box((middle - 0.008, y), (middle + 0.008, y + 0.05), (235, 235, 220))


def _lamp(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, height, colour = dice.between(0.05, 0.95), dice.between(0.25, 0.5), dice.colour((0, 0.3), (0.1, 0.5))
    canvas.line(((x, foot), (x, foot - height)), colour, 0.012)
    canvas.ellipse((x, foot - height), _same(dice.between(0.015, 0.035)), dice.pick(((255, 240, 180), (220, 220, 220))))


def _sign(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, height = dice.between(0.05, 0.95), dice.between(0.15, 0.35)
    canvas.line(((x, foot), (x, foot - height)), (120, 120, 125), 0.012)
    radius = dice.between(0.025, 0.06)
    if dice.chance(0.5):
        canvas.ellipse((x, foot - height), _same(radius), dice.colour())
        canvas.ellipse((x, foot - height), _same(radius * 0.65), dice.colour((0, 0.3), (0.6, 1)))
    else:
        canvas.rounded((x, foot - height), (radius * 1.4, radius * 0.8), dice.colour(), 0.3)


def _tree(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, height, wide = dice.between(0, 1), dice.between(0.15, 0.45), dice.between(0.05, 0.14)
    trunk = dice.colour((0.3, 0.7), (0.15, 0.5))
    canvas.box((x - wide * 0.15, foot - height * 0.5), (x + wide * 0.15, foot), trunk)
    crown = dice.colour((0.3, 0.9), (0.2, 0.8))
    if dice.chance(0.4):
        canvas.shape(((x - wide, foot - height * 0.3), (x, foot - height), (x + wide, foot - height * 0.3)), crown)
    else:
        canvas.ellipse((x, foot - height * 0.7), (wide, height * 0.35), crown)


def _palm(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, height = dice.between(0.05, 0.95), dice.between(0.3, 0.55)
    top = (x + dice.between(-0.1, 0.1), foot - height)
    canvas.line(((x, foot), top), (120, 85, 50), 0.025)
    for reach in (-0.16, -0.1, 0.1, 0.16):
        canvas.line((top, (top[0] + reach, top[1] + dice.between(-0.03, 0.08))), (50, 120, 50), 0.02)


def _car(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, size, colour = dice.between(0.1, 0.9), dice.between(0.08, 0.16), dice.colour()
    canvas.rounded((x, foot - size * 0.35), (size, size * 0.25), colour)
    canvas.rounded((x, foot - size * 0.65), (size * 0.55, size * 0.25), shade(colour, 0.8))
    for side in (-0.55, 0.55):
        canvas.ellipse((x + side * size, foot - size * 0.1), _same(size * 0.18), (25, 25, 28))


def _hydrant(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, size, colour = dice.between(0.05, 0.95), dice.between(0.03, 0.06), dice.colour((0.5, 1), (0.4, 0.9))
    canvas.box((x - size * 0.5, foot - size * 2), (x + size * 0.5, foot), colour)
    canvas.ellipse((x, foot - size * 2), _same(size * 0.5), colour)
    canvas.box((x - size, foot - size * 1.4), (x + size, foot - size), colour)


def _bin(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, size = dice.between(0.05, 0.95), dice.between(0.04, 0.08)
    canvas.box((x - size * 0.7, foot - size * 2), (x + size * 0.7, foot), dice.colour((0, 0.6), (0.15, 0.6)))


def _bush(canvas: Canvas, dice: Dice, foot: float) -> None:
    size = dice.between(0.04, 0.12)
    canvas.ellipse((dice.between(0, 1), foot), (size, size * 0.6), dice.colour((0.4, 0.9), (0.2, 0.7)))


def _post(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, height, colour = dice.between(0, 1), dice.between(0.06, 0.25), dice.colour((0.1, 0.6), (0.2, 0.6))
    canvas.line(((x, foot), (x, foot - height)), colour, dice.between(0.012, 0.04))
    if dice.chance(0.4):
        canvas.line(((x - 0.06, foot - height * 0.8), (x + 0.06, foot - height * 0.8)), colour, 0.015)


def _bale(canvas: Canvas, dice: Dice, foot: float) -> None:
    size, x = dice.between(0.04, 0.1), dice.between(0, 1)
    canvas.ellipse((x, foot - size), _same(size), (205, 175, 95))
    canvas.ring((x, foot - size), _same(size * 0.5), (165, 135, 70), 0.01)


def _rock(canvas: Canvas, dice: Dice, foot: float) -> None:
    size, x = dice.between(0.03, 0.12), dice.between(0, 1)
    canvas.shape(
        ((x - size, foot), (x - size * 0.5, foot - size * 0.8), (x + size * 0.4, foot - size), (x + size, foot)),
        dice.colour((0, 0.35), (0.3, 0.7)),
    )


def _umbrella(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, wide = dice.between(0.1, 0.9), dice.between(0.08, 0.18)
    canvas.line(((x, foot), (x, foot - wide * 1.8)), (200, 195, 185), 0.012)
    canvas.slice((x, foot - wide * 1.3), (wide, wide * 0.6), (180, 360), dice.colour((0.4, 1), (0.5, 1)))


def _boat(canvas: Canvas, dice: Dice, foot: float) -> None:
    x, size = dice.between(0.1, 0.9), dice.between(0.05, 0.12)
    y = foot - 0.3
    canvas.shape(((x - size, y), (x + size, y), (x + size * 0.6, y + size * 0.4), (x - size * 0.6, y + size * 0.4)),
                 dice.colour())  # fmt: skip
    canvas.shape(((x, y - size * 1.5), (x + size * 0.8, y - 0.01), (x, y - 0.01)), (245, 245, 240))


def _window(canvas: Canvas, dice: Dice, floor: float) -> None:
    centre, half = (dice.between(0.1, 0.9), dice.between(0.15, 0.35) * floor / 0.7), dice.between(0.07, 0.16)
    canvas.box((centre[0] - half, centre[1] - half), (centre[0] + half, centre[1] + half), (245, 245, 245))
    inner, pane = half * 0.85, dice.pick(((170, 210, 240), (25, 30, 60), (220, 235, 240)))
    canvas.box((centre[0] - inner, centre[1] - inner), (centre[0] + inner, centre[1] + inner), pane)
    canvas.line(((centre[0], centre[1] - half), (centre[0], centre[1] + half)), (245, 245, 245), 0.012)


def _picture(canvas: Canvas, dice: Dice, floor: float) -> None:
    centre, half = (dice.between(0.1, 0.9), dice.between(0.15, 0.4) * floor / 0.7), dice.between(0.05, 0.12)
    canvas.box((centre[0] - half * 1.2, centre[1] - half), (centre[0] + half * 1.2, centre[1] + half), dice.colour())
    canvas.box((centre[0] - half, centre[1] - half * 0.8), (centre[0] + half, centre[1] + half * 0.8), dice.colour())


def _clock(canvas: Canvas, dice: Dice, floor: float) -> None:
    centre, radius = (dice.between(0.1, 0.9), dice.between(0.12, 0.4) * floor / 0.7), dice.between(0.03, 0.09)
    canvas.ellipse(centre, _same(radius), dice.colour())
    canvas.ellipse(centre, _same(radius * 0.8), dice.colour((0, 0.3), (0.7, 1)))
    canvas.line((centre, (centre[0] + radius * 0.5, centre[1] - radius * 0.3)), (20, 20, 20), 0.01)
    canvas.line((centre, (centre[0], centre[1] - radius * 0.65)), (20, 20, 20), 0.01)


def _shelf(canvas: Canvas, dice: Dice, floor: float) -> None:
    left, y = dice.between(0, 0.7), dice.between(0.2, 0.5) * floor / 0.7
    canvas.box((left, y), (left + 0.3, y + 0.015), (110, 75, 45))
    for index in range(dice.whole(2, 7)):
        height = dice.between(0.04, 0.1)
        canvas.box((left + index * 0.04, y - height), (left + index * 0.04 + 0.03, y), dice.colour())


def _table(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, y, half = dice.between(0.2, 0.8), floor + dice.between(-0.08, 0.05), dice.between(0.12, 0.25)
    colour = dice.colour((0.2, 0.7), (0.25, 0.8))
    for side in (-0.9, 0.9):
        canvas.box((x + side * half - 0.012, y), (x + side * half + 0.012, min(y + half, 1)), shade(colour, 0.7))
    canvas.box((x - half, y), (x + half, y + 0.03), colour)


def _sofa(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, half, colour = dice.between(0.2, 0.8), dice.between(0.15, 0.28), dice.colour()
    canvas.rounded((x, floor - half * 0.25), (half, half * 0.4), colour)
    canvas.rounded((x, floor + half * 0.15), (half * 1.1, half * 0.25), shade(colour, 0.8))


def _chair(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, size, colour = dice.between(0.1, 0.9), dice.between(0.06, 0.11), dice.colour((0.2, 0.8), (0.2, 0.8))
    canvas.box((x - size, floor - size * 2), (x - size * 0.7, floor + size), colour)
    canvas.box((x - size, floor - size * 0.2), (x + size, floor), colour)
    canvas.box((x + size * 0.7, floor), (x + size, floor + size), colour)


def _floor_lamp(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, height = dice.between(0.08, 0.92), dice.between(0.3, 0.5)
    canvas.line(((x, floor + 0.05), (x, floor - height)), (70, 65, 60), 0.012)
    wide, top = dice.between(0.04, 0.08), floor - height
    shape = (
        (x - wide, top + wide),
        (x - wide * 0.6, top - wide * 0.5),
        (x + wide * 0.6, top - wide * 0.5),
        (x + wide, top + wide),
    )
    canvas.shape(shape, dice.colour((0, 0.5), (0.7, 1)))


def _cupboard(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, half, height = dice.between(0.1, 0.9), dice.between(0.08, 0.16), dice.between(0.2, 0.5)
    colour = dice.colour((0.1, 0.7), (0.25, 0.85))
    canvas.box((x - half, floor - height), (x + half, floor + 0.04), colour)
    canvas.line(((x, floor - height), (x, floor + 0.04)), shade(colour, 0.6), 0.01)


def _coat_stand(canvas: Canvas, dice: Dice, floor: float) -> None:
    x, height = dice.between(0.08, 0.92), dice.between(0.35, 0.5)
    canvas.line(((x, floor + 0.05), (x, floor - height)), (80, 55, 35), 0.015)
    top, colour = floor - height + 0.04, dice.colour()
    canvas.shape(((x, top), (x + 0.08, top + 0.06), (x + 0.06, top + 0.3), (x - 0.06, top + 0.3)), colour)


def _same(radius: float) -> Point:
    return radius, radius
