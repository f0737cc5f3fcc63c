"""Near-duplicates."""

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from query.cli.common import format_option, on_store
from query.duplicates.answering.ask import Duplicates
from query.duplicates.sets import APPROXIMATE, EXACT, FLOOR, described, recall_at
from query.duplicates.words import KEEP_FIRST_BY, MEMORY_BYTES
from query.output import megabytes, print_table, show
from query.session import Session

if TYPE_CHECKING:
    from query.duplicates.neighbors.find import Found

_SHOWN = 10
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class _Size(click.ParamType[int]):
    """A size of memory: 2GB, 800MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", str(value).strip().upper())
        if found is None:
            self.fail(f"{value!r} is no size; write 2GB or 800MB.", param, ctx)
        return round(float(found[1]) * _UNITS[found[2]])


@click.command()
@on_store
@click.option("--floor", type=float, default=FLOOR, show_default=True, help="Keep pairs from this cosine on.")
@click.option("--exact", "method", flag_value=EXACT, help="Compare every pair: none is missed. Usual for small stores.")
@click.option(
    "--approximate",
    "method",
    flag_value=APPROXIMATE,
    help="Compare within neighbourhoods; how much is found is measured. Usual for large stores.",
)
@click.option("--memory", "memory_bytes", type=_Size(), default=f"{MEMORY_BYTES // 10**9}GB", show_default=True)
def neighbors(session: Session, floor: float, method: str | None, memory_bytes: int) -> None:
    """Find every pair of images in STORE whose embeddings are close, and keep the pairs.

    Only what is new since the last time is compared; interrupted, it goes on where it was. `clipsieve duplicates` then
    answers from the pairs alone.
    """
    with click.progressbar(length=1, label="Reading", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def on_progress(what: str, done: int, every: int) -> None:
            if bar.label != what or bar.length != every:
                bar.label, bar.length, bar.pos = what, every, 0
            bar.update(done - bar.pos)

        found = session.neighbors(floor, method=method, memory_bytes=memory_bytes, on_progress=on_progress)
    _show_found(found)


@click.command()
@on_store
@click.option("--at", type=float, metavar="COSINE", help="Near-duplicates too, from this cosine on, for example 0.95.")
@click.option("--sweep", is_flag=True, help="Show what each threshold from the floor of the pairs to 1 would remove.")
@click.option(
    "--keep-first-by",
    metavar="SQL",
    default=KEEP_FIRST_BY,
    show_default=True,
    help="Which image stays, as after ORDER BY, over the view candidates.",
)
@click.option("--where", metavar="SQL", default="", help="Only images for which this holds take part.")
@click.option("--never", metavar="SQL", default="", help="Never remove images for which this holds; they stay first.")
@click.option("--within", metavar="SQL", default="", help="Compare only images that have the same of this: folder.")
@click.option("--across", metavar="SQL", default="", help="Compare only images that differ in this: source.")
@click.option("--html", metavar="FILE.html", help="Also write a sheet of the groups, the kept image first.")
@format_option
def duplicates(session: Session, *, at: float | None, sweep: bool, html: str | None, kind: str, **words: str) -> None:
    """Show which images of STORE are duplicates, and of which image that stays. Nothing is removed.

    Without --at, of the same bytes or the same pixels: no vector is asked. Going down a ranking, an image stays unless
    one that stays already is as close as --at: every removed image has a partner that stays, and is never chained to it
    through others.
    """
    if sweep:
        if at is not None or html is not None:
            raise click.UsageError("A sweep shows every threshold; --at and --html belong to one.")
        table = session.duplicates_by_threshold((), **words)
        print_table(table, kind)
        return
    at_most = _SHOWN if kind == "table" and html is None else None  # to name all of a million takes a while
    found = session.duplicates(at, **words, html=html, at_most=at_most)
    if kind == "table":
        _show_duplicates(found)
    else:
        print_table(found.rows, kind)
    if html is not None:
        click.echo(f"Sheet written to {html}.", err=True)


def _show_found(found: "Found") -> None:
    neighbors = found.neighbors
    new = f"{found.new_images:,} images compared" if found.new_images else "Nothing was missing"
    click.echo(
        f"{new}: {found.pairs:,} pairs of {neighbors.images:,} images are at a cosine of {neighbors.floor:g} or more."
    )
    if found.members:
        click.echo(
            f"Besides, {found.members:,} images have exactly the embedding of another one, as very many do: copies of "
            "a placeholder, for example. `clipsieve duplicates` finds them too; their pairs would be too many to keep."
        )
    if neighbors.method == EXACT:
        click.echo(f"The pairs are {described(neighbors, neighbors.floor)}.")
        return
    click.echo("The pairs are found approximately; how many of a sample's pairs were found:")
    rounds = neighbors.complete
    steps = [one.at for one in rounds[0].recall] if rounds else []
    recalls = [recall_at(neighbors, at) for at in steps]
    show(
        ["from cosine", "pairs", "found", "recall", "at least, 95% sure"],
        [[f"{r.at:.2f}", r.pairs, r.found, f"{r.share:.4%}", f"{r.at_least:.2%}"] for r in recalls if r.pairs],
    )


def _show_duplicates(found: Duplicates) -> None:
    removed = found.removed
    stay = f"{found.groups:,} that {'stays' if found.groups == 1 else 'stay'}"
    are = f"{removed:,} of {found.images:,} images are duplicates of {stay}" if removed else None
    click.echo(f"{are or f'No image of {found.images:,} is a duplicate'}: {found.asked}.")
    if found.tiers:
        show(
            ["", "removed", "size"],
            [[tier["tier"], tier["removed"], megabytes(tier["size_bytes"] or 0)] for tier in found.tiers],
        )
    if removed:
        least = sorted(found.rows.to_pylist(), key=lambda row: (row["cosine"], row["uri"]))[:_SHOWN]
        show(
            ["cosine", "", "goes", "stays"],
            [[row["cosine"], row["tier"], row["uri"], row["duplicate_of"]] for row in least],
            title=f"\nThe {len(least)} least alike" if removed > len(least) else "\nThe least alike first",
        )
        click.echo("All of them: --format csv, or as pictures: --html FILE.html.", err=True)
    if found.words.at is None:
        click.echo("Near-duplicates too: --at 0.95, once `clipsieve neighbors STORE` has found the pairs.", err=True)
