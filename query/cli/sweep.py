"""What thresholds would remove."""

from collections.abc import Sequence
from typing import Any

import click

from query.cli.common import format_option, on_store
from query.output import cell, print_table, show
from query.rules.plot import require_picture
from query.rules.sweep import GRID_STEPS, MOST_STEPS, STEPS, Axis, Sweep, SweepWords
from query.scoring.kinds import scale_of
from query.session import Session

_MOST_GROUPS = 40
_MOST_COLUMNS = 10


@click.command()
@on_store
@click.argument("concept")
@click.argument("concept2", required=False)
@click.option(
    "--steps",
    type=click.IntRange(1, MOST_STEPS),
    help=f"Steps from the lowest to the highest score: about {STEPS}, of two concepts about {GRID_STEPS} each.",
)
@click.option(
    "--below/--at-least",
    default=None,
    help="Which side of a threshold goes. By default, of a rating the low one, of all else the high one.",
)
@click.option("--either", is_flag=True, help="Of two concepts, remove where one of them holds, not only where both do.")
@click.option("--by", metavar="SQL", help="A row for each group: folder, or any expression over the view candidates.")
@click.option("--prefix", type=click.IntRange(1), metavar="DEPTH", help="Group by the first DEPTH folders of the key.")
@click.option("--where", metavar="SQL", help="Look only at images for which this holds.")
@click.option("--plot", metavar="FILE", help="Draw it into a file that ends in .png or .svg.")
@format_option
def sweep(session: Session, concept: str, concept2: str | None, kind: str, plot: str | None, **words: Any) -> None:
    """Show how many images each threshold of CONCEPT would remove and keep, over the whole range of its scores.

    With CONCEPT2, show what pairs of thresholds remove. Equality is included: 0.5 is removed by `people >= 0.5`.
    """
    prefix = words.pop("prefix")
    if prefix is not None:
        if words["by"] is not None:
            raise click.UsageError("Give --by or --prefix, not both.")
        words["by"] = f"array_to_string(string_split(folder, '/')[:{prefix}], '/')"
    if plot is not None:
        require_picture(plot, groups=words["by"] is not None)
    swept = session.swept([concept, concept2] if concept2 else [concept], SweepWords(**words))
    if plot is not None:
        swept.plot(plot)
    if kind == "table":
        _show(swept, f"prefix of {prefix}" if prefix else words["by"])
    else:
        print_table(swept.table, kind)
    if swept.gone:
        click.echo(
            f"Note: {swept.gone:,} scored images are not counted: deleted or replaced at their source by now.", err=True
        )


def _show(swept: Sweep, groups: str | None) -> None:
    scales = "; ".join(f"{axis.concept.name}: {scale_of(axis.concept)}" for axis in swept.axes)
    click.echo(f"Removed where {swept.rule}. Scores of {scales}.\n")
    if len(swept.axes) > 1:
        _show_grid(swept)
    elif groups:
        _show_groups(swept, groups)
    else:
        _show_one(swept)


def _show_one(swept: Sweep) -> None:
    (axis,) = swept.axes
    rows = []
    for i, step in enumerate(swept.table.to_pylist()):
        share = step["removed_share"] or 0.0
        mark = "  <- suggested" if i == axis.nearest_to_suggested else ""
        rows.append([axis.shown(step["threshold"]), step["removed"], step["kept"], f"{share:.2%}", _bar(share) + mark])
    show(["threshold", "removed", "kept", "share", "removed"], rows)


def _show_groups(swept: Sweep, groups: str) -> None:
    """Show a row for each group, those that lose most images at the suggested threshold first."""
    (axis,) = swept.axes
    suggested, steps = axis.nearest_to_suggested, swept.table.to_pylist()
    by_group = [steps[k : k + axis.steps + 1] for k in range(0, len(steps), axis.steps + 1)]
    by_group.sort(key=lambda group: -group[suggested]["removed"])
    columns = _some(axis)
    rows = [
        [
            cell(group[0]["group_name"]),
            group[0]["removed"] + group[0]["kept"],
            *(f"{group[i]['removed_share']:6.1%}" for i in columns),
        ]
        for group in by_group[:_MOST_GROUPS]
    ]
    show([groups, "images", *_titles(axis, columns)], rows)
    click.echo(f"* suggested; the groups stand in the order of what it removes.{_more(by_group)}", err=True)


def _more(by_group: Sequence[object]) -> str:
    more = len(by_group) - _MOST_GROUPS
    return f" {more:,} more groups lose fewer: --format csv has them all." if more > 0 else ""


def _show_grid(swept: Sweep) -> None:
    """Show the shares removed: a row for each threshold of the first concept, a column for each of the second."""
    first, second = swept.axes
    steps, width = swept.table.to_pylist(), second.steps + 1
    columns = range(width) if width <= _MOST_COLUMNS + 2 else _some(second)
    rows = [
        [title, *(f"{(steps[i * width + j]['removed_share'] or 0.0):6.1%}" for j in columns)]
        for i, title in enumerate(_titles(first, range(first.steps + 1)))
    ]
    show([f"{first.rule} / {second.rule}", *_titles(second, columns)], rows)
    click.echo("* nearest to the suggested threshold.", err=True)


def _titles(axis: Axis, numbers: Sequence[int]) -> list[str]:
    """Return these thresholds as text, the suggested one marked."""
    low, high = axis.concept.range
    marks = ("*" if i == axis.nearest_to_suggested else "" for i in numbers)
    return [axis.shown(low + (high - low) * i / axis.steps) + mark for i, mark in zip(numbers, marks, strict=True)]


def _some(axis: Axis) -> Sequence[int]:
    """Return the numbers of some thresholds to show, spread over the range, the suggested one among them."""
    evenly = {round(k * axis.steps / _MOST_COLUMNS) for k in range(1, _MOST_COLUMNS)}
    return sorted({*evenly, axis.nearest_to_suggested})


def _bar(share: float, width: int = 40) -> str:
    whole, eighths = divmod(round(share * width * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()
