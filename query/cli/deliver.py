"""Manifests."""

import sys

import click

from query.cli.common import LOOK, on_store
from query.cli.select import counts, policy_words, show_rules
from query.session import Session


@click.command()
@on_store
@policy_words
@click.option("--to", required=True, metavar="PLACE", help="A new folder or S3 prefix for the manifests.")
def export(session: Session, policy: str | None, remove: tuple[str, ...], to: str) -> None:
    """Write removed.csv, kept.csv, quarantined.csv, errors.csv and run_metadata.json. Nothing is deleted anywhere.

    POLICY is a shipped name or a TOML file. The first rule that holds decides an image and stands in its row; every
    object of the sources stands in exactly one manifest.
    """
    run = session.export(to, policy, remove)
    click.echo(counts(run))
    show_rules(list(run.rules))
    click.echo(f"Written to {run.place}: removed.csv, kept.csv, quarantined.csv, errors.csv, run_metadata.json.")
    if run.pending:
        click.echo(
            f"{run.pending:,} objects have not been read yet (not_read_yet in errors.csv): finish `clipsieve embed`.",
            err=True,
        )
        sys.exit(LOOK)
