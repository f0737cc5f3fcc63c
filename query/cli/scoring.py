"""Concepts and their scores."""

import sys

import click
import pyarrow as pa

from query.cli.common import format_option, on_store
from query.output import print_table, show
from query.session import Session

_USUAL = "probability, 0 to 1"


@click.command()
@on_store
@click.argument("concepts", nargs=-1)
@click.option("--from", "from_file", metavar="FILE", help="The weights of one head, where they cannot be fetched.")
def score(session: Session, concepts: tuple[str, ...], from_file: str | None) -> None:
    """Compute the scores of CONCEPTS that STORE lacks: names of concepts or heads, or TOML files.

    Without CONCEPTS, everything the store has scores of is brought up to date, and all shipped concepts are scored.
    The heads aesthetic, aesthetic_improved and nsfw are fetched once, when they are named.
    """
    with click.progressbar(length=1, label="Scoring", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def on_part(done: int, every: int) -> None:
            bar.length = every
            bar.update(done - bar.pos)

        report = session.score(*concepts, from_file=from_file, on_part=on_part)
    new = f"{report.parts_scored:,} of {report.parts:,} parts" if report.parts_scored else "nothing was missing"
    prompts = "1 prompt" if report.prompts_encoded == 1 else f"{report.prompts_encoded} prompts"
    encoded = f", {prompts} encoded" if report.prompts_encoded else ""
    names = [
        name if scale == _USUAL else f"{name} ({scale})"
        for name, scale in zip(report.concepts, report.scales, strict=True)
    ]
    click.echo(f"Scored {', '.join(names)}: {new}{encoded}.")


@click.command()
@on_store
@format_option
def concepts(session: Session, kind: str) -> None:
    """Show every concept that goes by a name in STORE: what it is, whether its scores are up to date, their spread.

    The last column is the share of images at or above the threshold that the concept suggests.
    """
    table = session.concepts()
    if kind == "table":
        _show_concepts(table)
    else:
        print_table(table, kind)


def _show_concepts(table: pa.Table) -> None:
    spread = ("lowest", "p05", "p50", "p95", "highest", "mean")
    rows = []
    for row in table.to_pylist():
        share = None if row["at_or_above"] is None else f"{row['at_or_above']:.2%}"
        unit = f"{row['unit']}, {row['low']:g} to {row['high']:g}"
        figures = [None if row[name] is None else f"{row[name]:.3f}" for name in spread]
        rows.append([row["concept"], row["kind"], row["state"], unit, *figures, f"{row['threshold']:g}", share])
    show(["concept", "kind", "state", "unit", *spread, "threshold", "at or above"], rows)
