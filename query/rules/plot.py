"""A sweep as a picture: of one concept, how its scores lie and how removal adds up; of two, a map of what goes."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from store.errors import MissingExtra, UsageError
from store.location import FolderLocation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

    from query.rules.sweep import Axis, Sweep

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]

_KINDS = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
"""The files that can be drawn, and what would make two drawings of one sweep differ."""
_STYLE: "dict[RcKeyType, Any]" = {
    "font.size": 9,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.spines.top": False,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "svg.fonttype": "none",
    "svg.hashsalt": "clipsieve",
}
_KEPT, _REMOVED, _CURVE, _MARK = "#c3ccd6", "#e3a08f", "#1f4e79", "#b03a2e"
_MOST_BARS = 100
_FAR_APART = 50
"""Where the highest bar is so many times the middle one, bars grow with the logarithm, or only one could be seen."""


def require_picture(place: str, *, groups: bool) -> None:
    """Raise where a sweep cannot be drawn: before anything is computed for it."""
    if groups:
        raise UsageError("Groups are not drawn.", do="Leave out the groups, or draw one of them with --where.")
    if Path(place).suffix.lower() not in _KINDS:
        raise UsageError(f"{place} does not say what to draw.", do="Let its name end in .png or .svg.")
    _figure()


def plot(swept: "Sweep", place: str) -> None:
    """Draw a sweep into a local file that ends in .png or .svg; the same sweep gives the same bytes."""
    require_picture(place, groups=swept.words.by is not None)
    import matplotlib as mpl  # noqa: PLC0415  # an extra

    path, file = Path(place).expanduser().absolute(), BytesIO()
    with mpl.rc_context(_STYLE):
        figure = _figure()
        (_draw_one if len(swept.axes) == 1 else _draw_two)(figure, swept)
        kind = path.suffix.lower()
        figure.savefig(file, format=kind[1:], dpi=150, metadata=_KINDS[kind])
    FolderLocation(path.parent).write(path.name, file.getvalue())


def _figure() -> "Figure":
    """Return an empty figure; raise MissingExtra where matplotlib is not installed. No window, no global state."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Drawing needs {error.name}, which is not installed.", do="Run `pip install 'clipsieve[plot]'`."
        ) from error
    return Figure(figsize=(8, 4.5), layout="constrained")


def _draw_one(figure: "Figure", swept: "Sweep") -> None:
    (axis,) = swept.axes
    thresholds = np.array(swept.table["threshold"].to_pylist())
    removed, images = np.array(swept.table["removed"].to_pylist()), _images(swept)
    bars = figure.add_subplot()
    _draw_bars(bars, axis, thresholds, images - removed if axis.below else removed, images)
    curve = bars.twinx()
    curve.plot(thresholds, 100 * removed / max(images, 1), color=_CURVE, linewidth=1.8)
    curve.set_ylim(0, 100)
    curve.set_ylabel(f"removed where {axis.rule} threshold", color=_CURVE)
    curve.yaxis.set_major_formatter("{x:.0f}%")
    curve.grid(axis="y", color="#e8e8e8", linewidth=0.8)
    _mark_suggested(curve, swept)
    bars.set_title(f"{axis.concept.name}: {images:,} images", loc="left", fontweight="bold")


def _draw_bars(bars: "Axes", axis: "Axis", thresholds: Numbers, at_least: Numbers, images: int) -> None:
    """Draw how many scores lie between two thresholds; what lies outside of the range stands in the outermost bars."""
    stride = -(-axis.steps // _MOST_BARS)
    edges = [*range(0, axis.steps, stride), axis.steps]
    reach = [images, *(int(at_least[k]) for k in edges[1:-1]), 0]
    heights = np.array([low - high for low, high in pairwise(reach)])
    lefts, widths = thresholds[edges[:-1]], np.diff(thresholds[edges])
    goes = (lefts < axis.concept.threshold) if axis.below else (lefts + widths / 2 > axis.concept.threshold)
    bars.bar(
        lefts, heights, widths, align="edge", color=np.where(goes, _REMOVED, _KEPT), edgecolor="white", linewidth=0.3
    )
    seen = heights[heights > 0]
    if len(seen) and seen.max() > _FAR_APART * np.median(seen):
        bars.set_yscale("log")
    else:
        bars.yaxis.set_major_formatter("{x:,.0f}")
    bars.set_xlim(*axis.concept.range)
    bars.set_xlabel(f"{axis.concept.name} ({axis.concept.unit})")
    bars.set_ylabel(f"images per {widths[0]:.4g}")


def _mark_suggested(curve: "Axes", swept: "Sweep") -> None:
    (axis,) = swept.axes
    step = swept.table.slice(axis.nearest_to_suggested, 1).to_pylist()[0]
    curve.axvline(step["threshold"], color=_MARK, linewidth=1.2, linestyle=(0, (4, 3)))
    share = step["removed_share"] or 0.0
    curve.set_title(
        f"{axis.shown(step['threshold'])}, as suggested, removes {share:.1%}", loc="right", color=_MARK, fontsize=9
    )


def _draw_two(figure: "Figure", swept: "Sweep") -> None:
    first, second = swept.axes
    shares = np.array([share or 0.0 for share in swept.table["removed_share"].to_pylist()])
    shares = 100 * shares.reshape(first.steps + 1, second.steps + 1)
    rows, columns = (np.linspace(*axis.concept.range, axis.steps + 1) for axis in swept.axes)
    grid = figure.add_subplot()
    mesh = grid.pcolormesh(columns, rows, shares, cmap="YlOrRd", vmin=0, vmax=100, shading="nearest")
    if shares.min() < shares.max():
        lines = grid.contour(columns, rows, shares, levels=[10, 25, 50, 75, 90], colors="#333333", linewidths=0.8)
        grid.clabel(lines, fmt="%d%%", fontsize=8)
    grid.axvline(second.concept.threshold, color=_MARK, linewidth=1.2, linestyle=(0, (4, 3)))
    grid.axhline(first.concept.threshold, color=_MARK, linewidth=1.2, linestyle=(0, (4, 3)))
    grid.set_xlabel(f"threshold of {second.concept.name} ({second.concept.unit})")
    grid.set_ylabel(f"threshold of {first.concept.name} ({first.concept.unit})")
    grid.set_title(f"{swept.rule}: {_images(swept):,} images", loc="left", fontweight="bold")
    figure.colorbar(mesh, label="removed", format="{x:.0f}%")


def _images(swept: "Sweep") -> int:
    return int(swept.table["removed"][0].as_py() + swept.table["kept"][0].as_py())
