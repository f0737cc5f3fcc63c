"""What thresholds would remove."""

import click
import pyarrow as pa

from query.cli.common import format_option, on_store
from query.output import print_table, show
from query.rules.sweep import STEPS
from query.session import Session


@click.command()
@on_store
@click.argument("concept")
@click.option("--steps", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Steps from 0 to 1.")
@format_option
def sweep(session: Session, concept: str, steps: int, kind: str) -> None:
    """Show how many images `CONCEPT >= threshold` would remove and keep, for every threshold from 0 to 1."""
    table = session.sweep(concept, steps)
    if kind == "table":
        _show_sweep(table, session.threshold(concept))
    else:
        print_table(table, kind)


def _show_sweep(table: pa.Table, suggested: float) -> None:
    steps = table.to_pylist()
    nearest = min(steps, key=lambda step: abs(step["threshold"] - suggested))
    decimals = 2 if len(steps) <= STEPS + 1 else 4
    rows = []
    for step in steps:
        share = step["removed_share"] or 0.0
        mark = "  <- suggested" if step is nearest else ""
        threshold = f"{step['threshold']:.{decimals}f}"
        rows.append([threshold, step["removed"], step["kept"], f"{share:.2%}", _bar(share) + mark])
    show(["threshold", "removed", "kept", "share", "removed"], rows)


def _bar(share: float, width: int = 40) -> str:
    whole, eighths = divmod(round(share * width * 8), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()
