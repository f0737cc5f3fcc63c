"""The commands of pass 2. Each parses, calls the session, and prints."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast

import click
import pyarrow as pa

from query.output import FORMATS, megabytes, print_table, show
from query.rules.sweep import STEPS
from query.session import Session
from query.status import Status
from store.s3 import S3Options

LOOK = 3
"""Exit code: done, with something to look at."""


class FrontDoor(Protocol):
    """What these commands ask of the front door, which knows both rooms."""

    def open(self, place: str, encoder: str | None, s3: S3Options) -> Session:
        """Open a store, with pass 1's text tower at hand where it is installed."""


def _on_store(command: Callable[..., None]) -> Callable[..., None]:
    """Take STORE and what leads to it, and call the command with the opened session instead."""

    def opened(ctx: click.Context, /, **words: Any) -> None:
        front: FrontDoor = ctx.obj
        place, encoder = words.pop("store"), words.pop("encoder")
        session = front.open(place, encoder, S3Options(words.pop("endpoint_url"), words.pop("region")))
        if session.encoder.caution:
            click.echo(f"Note: {session.encoder.caution}", err=True)
        command(session, **words)

    decorated: Any = click.pass_context(opened)
    functools.update_wrapper(decorated, command)
    for decorate in (
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS."),
        click.option("--encoder", metavar="ENCODER", help="Which encoder; for local weights also where they lie."),
        click.argument("store"),
    ):
        decorated = decorate(decorated)
    return cast("Callable[..., None]", decorated)


_format = click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)


@click.command()
@_on_store
@_format
def status(session: Session, kind: str) -> None:
    """Show what is in STORE: sources, encoder, counts by outcome, scores, size, last run."""
    found = session.status()
    if kind == "table":
        _show_status(found)
    else:
        print_table(pa.Table.from_pylist([asdict(found)]), kind)


@click.command()
@_on_store
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


@click.command()
@_on_store
@click.argument("concept")
@click.option("--steps", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Steps from 0 to 1.")
@_format
def sweep(session: Session, concept: str, steps: int, kind: str) -> None:
    """Show how many images `CONCEPT >= threshold` would remove and keep, for every threshold from 0 to 1."""
    table = session.sweep(concept, steps)
    if kind == "table":
        _show_sweep(table, session.threshold(concept))
    else:
        print_table(table, kind)


@click.command()
@_on_store
@click.argument("query", required=False)
@_format
def sql(session: Session, query: str | None, kind: str) -> None:
    """Answer one read-only QUERY over the views images, current_images, current_objects, scores, thumbnails, prompts.

    Without QUERY, or where it is -, it is read from stdin.
    """
    print_table(session.sql(sys.stdin.read() if query in {None, "-"} else str(query)), kind)
    if missing := session.unscored_parts():
        click.echo(f"Note: the view scores lacks {missing:,} parts; run `clipsieve score STORE`.", err=True)


@click.command()
@_on_store
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


@click.command()
@_on_store
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
        [
            "",
            f"{encoder['embedding_dim']} dimensions, {encoder['precision']}, open_clip {encoder['open_clip_version']}",
        ],
        ["images", f"{found.images_recorded:,} recorded in {found.parts:,} parts"],
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
    if not found.sources:
        click.echo("\nNo source has been listed to its end yet: run the same `clipsieve embed` again.")


def _show_records(records: Sequence[Mapping[str, Any]], title: str) -> None:
    if records:
        show(list(records[0]), [list(record.values()) for record in records], title=title)


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
