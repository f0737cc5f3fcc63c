"""Manifests."""

import sys

import click

from query.cli.common import LOOK, on_store
from query.output import show
from query.session import Session


@click.command()
@on_store
@click.option(
    "--remove",
    multiple=True,
    required=True,
    metavar="CONDITION",
    help="A rule, for example 'people >= 0.5'; may be given several times.",
)
@click.option("--to", required=True, metavar="PLACE", help="A new folder or S3 prefix for the manifests.")
def export(session: Session, remove: tuple[str, ...], to: str) -> None:
    """Write removed.csv, kept.csv, errors.csv and run_metadata.json. Nothing is deleted anywhere.

    An image is removed by the first --remove condition that holds; every object of the sources stands in one manifest.
    """
    run = session.export(to, remove)
    share = run.removed / run.listed if run.listed else 0.0
    click.echo(
        f"Removed {run.removed:,} ({share:.1%}), kept {run.kept:,}, errors {run.errors:,}; listed {run.listed:,}."
    )
    show(["rule", "removed"], [[rule["rule"], rule["removed"]] for rule in run.rules])
    click.echo(f"Written to {run.place}: removed.csv, kept.csv, errors.csv, run_metadata.json.")
    if run.pending:
        click.echo(
            f"{run.pending:,} objects have not been read yet (not_read_yet in errors.csv): finish `clipsieve embed`.",
            err=True,
        )
        sys.exit(LOOK)
