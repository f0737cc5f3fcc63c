"""A picture to draw on in coordinates from 0 to 1, and the dice that decide what is drawn."""

import colorsys
import math
import random
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from PIL import Image, ImageDraw

Colour: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]  # (x, y), 0 to 1 from the top left
T = TypeVar("T")


class Dice:
    """Random decisions that depend on nothing but the seed."""

    def __init__(self, seed: int | str) -> None:
        """Start from a seed."""
        self._random = random.Random(seed)  # noqa: S311 - reproducible pictures, not cryptography

    def between(self, low: float, high: float) -> float:
        """Return a number from low to high."""
        return low + (high - low) * self._random.random()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """Return True in this share of all cases."""
        return self._random.random() < share

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices, each as likely."""
        return choices[int(self._random.random() * len(choices))]

    def weighted(self, shares: dict[T, float]) -> T:
        """Return one of the keys, each as likely as its value says."""
        return self._random.choices(list(shares), list(shares.values()))[0]

    def colour(self, saturation: Point = (0.0, 1.0), value: Point = (0.15, 1.0)) -> Colour:
        """Return any colour within these ranges of saturation and value."""
        return hsv(self._random.random(), self.between(*saturation), self.between(*value))

    def skin(self) -> Colour:
        """Return a skin colour, from very dark to very light."""
        light = self.between(0.28, 0.98)
        return hsv(self.between(0.035, 0.085), self.between(0.28, 0.62) * (1.25 - 0.6 * light), light)

    def dark(self) -> Colour:
        """Return a colour as dark glasses have it."""
        return self.colour((0.0, 0.6), (0.02, 0.2))


class Canvas:
    """A picture that is drawn on; 0 to 1 across and down, whatever its size."""

    def __init__(self, size_px: tuple[int, int], fill: Colour) -> None:
        """Start with one colour."""
        self.image = Image.new("RGB", size_px, fill)
        self._draw = ImageDraw.Draw(self.image)
        self._width, self._height = size_px

    def box(self, corner: Point, far_corner: Point, fill: Colour) -> None:
        """Fill a rectangle."""
        (left, top), (right, bottom) = self._px(corner), self._px(far_corner)
        self._draw.rectangle((min(left, right), min(top, bottom), max(left, right), max(top, bottom)), fill)

    def rounded(self, centre: Point, radii: Point, fill: Colour, roundness: float = 0.5) -> None:
        """Fill a rectangle around a centre, its corners rounded by this share of its shorter radius."""
        (left, top, right, bottom), radius = self._bounds(centre, radii), roundness * min(radii) * self._width
        self._draw.rounded_rectangle((left, top, right, bottom), radius, fill)

    def ellipse(self, centre: Point, radii: Point, fill: Colour) -> None:
        """Fill an ellipse."""
        self._draw.ellipse(self._bounds(centre, radii), fill)

    def ring(self, centre: Point, radii: Point, colour: Colour, width: float) -> None:
        """Draw the outline of an ellipse."""
        self._draw.ellipse(self._bounds(centre, radii), outline=colour, width=self._line(width))

    def arc(self, centre: Point, radii: Point, degrees: Point, stroke: tuple[Colour, float]) -> None:
        """Draw a part of an ellipse's outline; 0 degrees is to the right, 90 below."""
        self._draw.arc(self._bounds(centre, radii), *degrees, fill=stroke[0], width=self._line(stroke[1]))

    def slice(self, centre: Point, radii: Point, degrees: Point, fill: Colour) -> None:
        """Fill the part of an ellipse beyond the chord between two angles."""
        self._draw.chord(self._bounds(centre, radii), *degrees, fill=fill)

    def shape(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._px(point) for point in points], fill)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a line through points; its ends are round where it is wide."""
        pixels, thick = [self._px(point) for point in points], self._line(width)
        self._draw.line(pixels, colour, thick, joint="curve")
        if thick > 3:  # noqa: PLR2004 - below that a round end cannot be seen
            for x, y in (pixels[0], pixels[-1]):
                self._draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), colour)

    def fade(self, span: Point, top: Colour, bottom: Colour) -> None:
        """Fill from one height to another with a colour that turns into a second one."""
        steps = 12
        (low, high), height = span, (span[1] - span[0]) / steps
        for step in range(steps):
            start = low + step * height
            self.box((0, start), (1, min(start + height, high)), mix(top, bottom, step / (steps - 1)))

    def _px(self, point: Point) -> Point:
        return point[0] * self._width, point[1] * self._height

    def _bounds(self, centre: Point, radii: Point) -> tuple[float, float, float, float]:
        (x, y), (across, down) = self._px(centre), self._px(radii)
        return x - across, y - down, x + across, y + down

    def _line(self, width: float) -> int:
        return max(1, round(width * self._width))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour from hue, saturation and value, each 0 to 1 (what lies outside is cut)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return the colour at this share of the way from one to the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Return a darker (factor below 1) or lighter colour."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


def around(centre: Point, radius: float, angle: float) -> Point:
    """Return the point at a distance from a centre; angle in radians, 0 to the right."""
    return centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)
