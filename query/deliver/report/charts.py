"""A chart of scores as SVG inside the page: bars on the side that goes, bars on the side that stays, and thresholds."""

from collections.abc import Sequence
from html import escape
from math import log1p
from statistics import median

from query.deliver.report.gather import Chart, Threshold

_WIDTH, _HEIGHT = 560, 150
_TOP, _BOTTOM, _SIDE = 40, 24, 8
_FAR_APART = 50
"""Where the highest bar is so many times the middle one, bars grow with the logarithm, or only one could be seen."""
_LABEL_PX = 8.0
"""About the width of a character of a label."""


def is_logarithmic(counts: Sequence[int]) -> bool:
    """Return whether the bars of these counts grow with the logarithm."""
    seen = [count for count in counts if count]
    return bool(seen) and max(seen) > _FAR_APART * median(seen)


def chart(drawn: Chart) -> str:
    """Return a chart as an SVG element."""
    images = sum(drawn.counts)
    what = f"How {images:,} values of {drawn.column} lie"
    parts = [*_bars(drawn), _axis(drawn), *_lines(drawn)]
    size = f'viewBox="0 0 {_WIDTH} {_TOP + _HEIGHT + _BOTTOM}"'
    return f'<svg {size} role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'


def _bars(drawn: Chart) -> list[str]:
    heights: list[float] = [log1p(n) if is_logarithmic(drawn.counts) else n for n in drawn.counts]
    highest, width = max([*heights, 1e-9]), (_WIDTH - 2 * _SIDE) / len(heights)
    step = (drawn.high - drawn.low) / len(heights)
    bars = []
    for k, (count, height) in enumerate(zip(drawn.counts, heights, strict=True)):
        if not count:
            continue
        tall = max(1.5, height / highest * _HEIGHT)
        low, high = drawn.low + k * step, drawn.low + (k + 1) * step
        side = "goes" if _holds((low + high) / 2, drawn.thresholds) else "stays"
        place = f'x="{_SIDE + k * width:.1f}" y="{_TOP + _HEIGHT - tall:.1f}" width="{width - 0.8:.1f}"'
        said = f"{_number(low)} to {_number(high)}: {count:,}"
        bars.append(f'<rect class="{side}" {place} height="{tall:.1f}"><title>{said}</title></rect>')
    return bars


def _holds(value: float, thresholds: Sequence[Threshold]) -> bool:
    """Return whether one of the comparisons holds for a value."""
    return any(value >= one.value if one.goes_above else value < one.value for one in thresholds)


def _axis(drawn: Chart) -> str:
    bottom = _TOP + _HEIGHT
    ends: list[tuple[float, str, float]] = [(_SIDE, "start", drawn.low), (_WIDTH - _SIDE, "end", drawn.high)]
    ends += [(_WIDTH / 2, "middle", (drawn.low + drawn.high) / 2)]
    texts = "".join(
        f'<text x="{x:.0f}" y="{bottom + 18}" text-anchor="{anchor}">{_number(value)}</text>'
        for x, anchor, value in ends
    )
    return f'<line class="axis" x1="{_SIDE}" x2="{_WIDTH - _SIDE}" y1="{bottom}" y2="{bottom}"/>{texts}'


def _lines(drawn: Chart) -> list[str]:
    """Return the thresholds with their labels; one that would stand in another's goes a line up."""
    lines, ends = [], [0.0, 0.0]
    for one in sorted(drawn.thresholds, key=lambda threshold: threshold.value):
        x = _SIDE + (one.value - drawn.low) / (drawn.high - drawn.low) * (_WIDTH - 2 * _SIDE)
        wide = len(one.comparison) * _LABEL_PX
        left = min(max(0.0, x - wide / 2), _WIDTH - wide)
        row = 0 if left >= ends[0] else 1
        ends[row] = left + wide + _LABEL_PX
        said = f"{one.comparison}, rule {one.rules}"
        lines.append(
            f'<g class="threshold"><title>{escape(said)}</title>'
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{_TOP + _HEIGHT}"/>'
            f'<text x="{left:.1f}" y="{_TOP - 9 - 17 * row}">{escape(one.comparison)}</text></g>'
        )
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004  # digits
