"""What is in a store, and whether it is sound."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click
import pyarrow as pa

from query.cli.common import format_option, on_store
from query.output import megabytes, print_table, show
from query.session import Session
from query.status import Status
from store.encoder import IMPORTED


@click.command()
@on_store
@format_option
def status(session: Session, kind: str) -> None:
    """Show what is in STORE: sources, encoder, counts by outcome, scores, size, last run."""
    found = session.status()
    if kind == "table":
        _show_status(found)
    else:
        print_table(pa.Table.from_pylist([asdict(found)]), kind)


@click.command()
@on_store
def verify(session: Session) -> None:
    """Read everything in STORE: every part readable, counts add up, embeddings of length 1, one encoder."""
    report = session.verify()
    for line in (*report.unreadable, *report.faults):
        click.echo(f"FAULT  {line}", err=True)
    for line in report.notes:
        click.echo(f"note   {line}", err=True)
    click.echo(f"Read {report.files:,} files: {report.images:,} images, {report.embeddings:,} embeddings.")
    click.echo("Sound." if report.sound else f"{len(report.unreadable) + len(report.faults):,} faults.")
    sys.exit(0 if report.sound else 1)


def _show_status(found: Status) -> None:
    encoder = found.encoder
    sizes = ", ".join(f"{name} {megabytes(size)}" for name, size in sorted(found.size_bytes.items()) if name != ".")
    rows = [
        ["store", found.store],
        ["encoder", encoder["encoder_id"] + ("  (RANDOM WEIGHTS)" if encoder["random_weights"] else "")],
        ["", f"{encoder['embedding_dim']} dimensions, {_made(encoder)}"],
        ["images", f"{found.images_recorded:,} recorded; parts: {found.parts:,}"],
        ["size", f"{megabytes(sum(found.size_bytes.values()))}: {sizes}"],
    ]
    if found.runs:
        last = found.runs[-1]
        rows.append(
            ["last run", f"{last['run_id']}, {last['images']:,} images, until {last['last_at']:%Y-%m-%d %H:%M} UTC"]
        )
    if found.no_longer_listed:
        rows.append(
            ["gone", f"{found.no_longer_listed:,} recorded images are replaced or deleted at their source by now"]
        )
    show(["", ""], rows)
    _show_records(found.sources, "\nSources")
    _show_records(found.errors, "\nFailed images")
    _show_records(found.scores, "\nScores")
    _show_records(found.measurements, "\nLooked at a second time")
    if not found.sources:
        click.echo("\nNo source has been listed to its end yet: run the same `clipsieve embed` again.")


def _made(encoder: Mapping[str, Any]) -> str:
    if encoder["weights_origin"] == IMPORTED:
        return "made elsewhere and imported"
    return f"{encoder['precision']}, open_clip {encoder['open_clip_version']}"


def _show_records(records: Sequence[Mapping[str, Any]], title: str) -> None:
    if records:
        show(list(records[0]), [list(record.values()) for record in records], title=title)
