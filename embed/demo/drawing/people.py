"""Figures from head to foot, alone, in groups and cut by the edge. Their faces are too small to say what they wear."""

from dataclasses import dataclass

from embed.demo.drawing.canvas import Canvas, Colour, Dice, Point, mix, shade


@dataclass(frozen=True)
class Figure:
    """One standing or walking person, measured in its own height."""

    who: str  # "man", "woman", "child"
    foot: Point
    height: float  # as a share of the canvas
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour

    def at(self, across: float, up: float) -> Point:
        """Return the point this far from the middle and above the ground, in shares of the height."""
        return self.foot[0] + across * self.height, self.foot[1] - up * self.height

    def span(self, share: float) -> float:
        """Return a length in shares of the canvas."""
        return share * self.height


def hair_colour(dice: Dice) -> Colour:
    """Return a hair colour: mostly natural, sometimes dyed."""
    if dice.chance(0.08):
        return dice.colour((0.4, 1), (0.3, 0.9))
    natural: tuple[Colour, ...] = (
        (25, 20, 18),
        (60, 40, 25),
        (110, 75, 40),
        (205, 170, 100),
        (165, 70, 35),
        (185, 185, 185),
    )
    return mix(dice.pick(natural), dice.pick(natural), dice.between(0, 0.3))


def new_figure(dice: Dice, who: str, foot: Point, height: float) -> Figure:
    """Return a figure with clothes, hair and skin of any colour."""
    return Figure(who, foot, height, dice.skin(), hair_colour(dice), dice.colour(), dice.colour((0, 0.8), (0.1, 0.9)))


def paint_figure(canvas: Canvas, dice: Dice, figure: Figure) -> None:
    """Paint a figure: legs, body, arms, head, hair."""
    head = 0.105 if figure.who == "child" else dice.between(0.065, 0.08)
    neck = 0.97 - 2 * head
    wide = dice.between(0.085, 0.13)
    hip = dice.between(0.42, 0.5)
    _legs(canvas, dice, figure, hip, wide)
    shoulders = ((-wide, neck), (wide, neck))
    hips = ((wide * 0.8, hip - 0.02), (-wide * 0.8, hip - 0.02))
    canvas.shape([figure.at(*point) for point in (*shoulders, *hips)], figure.top)
    _arms(canvas, dice, figure, neck, wide)
    canvas.line((figure.at(0, neck - 0.01), figure.at(0, neck + head)), figure.skin, figure.span(0.05))
    _head(canvas, dice, figure, neck + head, head)


def _legs(canvas: Canvas, dice: Dice, figure: Figure, hip: float, wide: float) -> None:
    if figure.who == "woman" and dice.chance(0.5):
        points = ((-wide * 0.8, hip), (wide * 0.8, hip), (wide * 1.5, hip * 0.45), (-wide * 1.5, hip * 0.45))
        for side in (-0.4, 0.4):
            canvas.line((figure.at(side * wide, hip), figure.at(side * wide, 0)), figure.skin, figure.span(0.045))
        canvas.shape([figure.at(*point) for point in points], figure.bottom)
        return
    stride = dice.between(0.3, 1.6)
    shorts = dice.chance(0.25)
    for side in (-1, 1):
        top, ankle = figure.at(side * wide * 0.4, hip), figure.at(side * wide * stride, 0.02)
        if shorts:
            canvas.line((top, ankle), figure.skin, figure.span(0.05))
            middle = (top[0] * 0.55 + ankle[0] * 0.45, top[1] * 0.55 + ankle[1] * 0.45)
            canvas.line((top, middle), figure.bottom, figure.span(0.08))
        else:
            canvas.line((top, ankle), figure.bottom, figure.span(0.075))
        canvas.ellipse((ankle[0] + figure.span(0.015), ankle[1]), (figure.span(0.04), figure.span(0.02)), (35, 30, 30))


def _arms(canvas: Canvas, dice: Dice, figure: Figure, neck: float, wide: float) -> None:
    sleeve = figure.skin if dice.chance(0.3) else shade(figure.top, dice.between(0.8, 1.0))
    for side in (-1, 1):
        shoulder = figure.at(side * wide * 0.95, neck - 0.02)
        raised = dice.chance(0.12)
        elbow = figure.at(side * (wide + 0.07), neck + 0.02 if raised else neck - 0.17)
        hand = figure.at(side * (wide + dice.between(0.0, 0.1)), neck + 0.2 if raised else neck - 0.33)
        canvas.line((shoulder, elbow, hand), sleeve, figure.span(0.045))
        canvas.ellipse(hand, (figure.span(0.025), figure.span(0.025)), figure.skin)


def _head(canvas: Canvas, dice: Dice, figure: Figure, up: float, head: float) -> None:
    centre, radii = figure.at(0, up), (figure.span(head * 0.8), figure.span(head))
    if figure.who == "woman":
        canvas.rounded((centre[0], centre[1] + radii[1] * 0.4), (radii[0] * 1.25, radii[1] * 1.2), figure.hair)
    canvas.ellipse(centre, radii, figure.skin)
    if dice.chance(0.9):
        canvas.slice(centre, (radii[0] * 1.12, radii[1] * 1.1), (190, 350), figure.hair)
    if dice.chance(0.15):
        canvas.slice((centre[0], centre[1] - radii[1] * 0.2), (radii[0] * 1.3, radii[1]), (180, 360), dice.colour())
    if figure.span(head) > 0.03:  # noqa: PLR2004 - below that, eyes are less than a pixel
        for side in (-0.4, 0.4):
            eye = (centre[0] + side * radii[0], centre[1] + radii[1] * 0.05)
            canvas.ellipse(eye, (radii[0] * 0.13, radii[1] * 0.1), (25, 20, 20))
        mouth = centre[1] + radii[1] * 0.5
        canvas.line(((centre[0] - radii[0] * 0.3, mouth), (centre[0] + radii[0] * 0.3, mouth)), (150, 60, 55), 0.006)
