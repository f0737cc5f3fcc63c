"""Manifests, and URLs for what they name."""

import sys
from typing import Any

import click

from query.cli.common import LOOK, on_store
from query.cli.runs import FrontDoor, on_run, s3_options
from query.cli.select import counts, policy_words, show_rules
from query.session import Session


@click.command()
@on_store
@policy_words
@click.option("--to", required=True, metavar="PLACE", help="A folder or S3 prefix, in which the run gets its own.")
@click.option("--jsonl", is_flag=True, help="Write JSON lines, too.")
@click.option("--presign", metavar="TIME", help="Add URLs that let anybody read an image so long: 7d, 12h, 30m.")
@click.option("--parquet/--no-parquet", default=True, show_default=True, help="Write Parquet beside CSV.")
@click.option("--report/--no-report", default=True, show_default=True, help="Write report.html.")
def export(session: Session, policy: str | None, remove: tuple[str, ...], to: str, **words: Any) -> None:
    """Write what POLICY decides as a run: PLACE/<run_id>/. Nothing is deleted anywhere, and no run is overwritten.

    POLICY is a shipped name or a TOML file. The first rule that holds decides an image and stands in its row; every
    object of the sources stands in exactly one of removed, kept, quarantined and errors, each as CSV and as Parquet.
    report.html shows what to look at before anything is done with the run; policy.toml is what decided.
    """
    run = session.export(to, policy, remove, **words)
    click.echo(counts(run))
    show_rules(list(run.rules))
    click.echo(f"Written to {run.place}: {', '.join(run.files)}.")
    for said in (*run.notes, *run.warnings):
        click.echo(said, err=True)
    if run.pending:
        click.echo(
            f"{run.pending:,} objects have not been read yet (not_read_yet in errors.csv): finish `clipsieve embed`.",
            err=True,
        )
    if run.pending or run.warnings:
        sys.exit(LOOK)


@click.command()
@click.option("--for", "lasts", metavar="TIME", default="7d", show_default=True, help="How long they last: 12h, 30m.")
@click.option(
    "--manifest",
    "names",
    multiple=True,
    metavar="NAME",
    help="Of removed, kept, quarantined and errors only this; may be given several times.",
)
@on_run
def presign(front: FrontDoor, run: str, *, lasts: str, names: tuple[str, ...], **words: Any) -> None:
    """Write the manifests of RUN anew with URLs that let anybody read each image for a time.

    They go to RUN/presigned/<time>/; the run's own files stay as they are. A URL holds the id of the key that signed
    it and ends with it, after 7 days at most.
    """
    signed = front.open_run(run, s3_options(words)).presign(lasts, names)
    for name, rows in signed.rows.items():
        click.echo(f"{name:12}{rows:>12,}")
    click.echo(f"Written to {signed.place}; the URLs end {signed.until:%Y-%m-%d %H:%M} UTC.")
    for warning in signed.warnings:
        click.echo(warning, err=True)
    if signed.warnings:
        sys.exit(LOOK)
