"""Concepts and their scores."""

import sys

import click

from query.cli.common import on_store
from query.session import Session


@click.command()
@on_store
@click.argument("concepts", nargs=-1)
def score(session: Session, concepts: tuple[str, ...]) -> None:
    """Compute the scores of CONCEPTS that STORE lacks: names of shipped or scored concepts, or TOML files.

    Without CONCEPTS, everything the store has scores of is brought up to date, and all shipped concepts are scored.
    """
    with click.progressbar(length=1, label="Scoring", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def on_part(done: int, every: int) -> None:
            bar.length = every
            bar.update(done - bar.pos)

        report = session.score(*concepts, on_part=on_part)
    new = f"{report.parts_scored:,} of {report.parts:,} parts" if report.parts_scored else "nothing was missing"
    encoded = f", {report.prompts_encoded} prompts encoded" if report.prompts_encoded else ""
    click.echo(f"Scored {', '.join(report.concepts)}: {new}{encoded}.")
