"""The command of pass 1."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

import click

from embed.progress import Display, duration
from embed.request import EmbedRequest, JobOptions, OnStart, Started, Summary
from store.s3 import S3Options

LOOK = 3
"""Exit code: done, with something to look at."""


class FrontDoor(Protocol):
    """What this command asks of the front door, which knows both rooms."""

    def run_embed(self, request: EmbedRequest, on_start: OnStart) -> Summary:
        """Run one embed job with the prompts of the shipped concepts."""


@click.command()
@click.argument("source")
@click.option("--store", required=True, metavar="STORE", help="A folder or s3://bucket/prefix; made if it is missing.")
@click.option(
    "--encoder",
    required=True,
    metavar="MODEL[/PRETRAINED]",
    help="open_clip's names, MODEL/checkpoint.pt, local-dir:/path or hf-hub:org/name.",
)
@click.option("--random-weights", is_flag=True, help="Rehearse with untrained weights; the store says so for ever.")
@click.option("--device", default="auto", show_default=True, help="cuda, cuda:1, mps or cpu.")
@click.option("--precision", default="auto", show_default=True, type=click.Choice(["auto", "fp32", "bf16", "fp16"]))
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images per forward pass.")
@click.option(
    "--part-rows",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    help="Rows after which a part is written; a minute is the other limit.",
)
@click.option("--no-thumbnails", is_flag=True, help="Keep no small pictures; they take about 4 KB each.")
@click.option("--retry-failed", is_flag=True, help="Read images again that failed before.")
@click.option(
    "--second-encoder",
    is_flag=True,
    help="Allow weights the store has, with another precision or version, beside the first.",
)
@click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS.")
@click.option("--region", help="The bucket's region.")
@click.option("--requester-pays", is_flag=True, help="Accept to pay for requests and transfer.")
@click.pass_obj
def embed(
    front: FrontDoor,
    source: str,
    store: str,
    encoder: str,
    *,
    random_weights: bool,
    device: str,
    precision: str,
    batch_size: int,
    part_rows: int,
    no_thumbnails: bool,
    retry_failed: bool,
    second_encoder: bool,
    endpoint_url: str | None,
    region: str | None,
    requester_pays: bool,
) -> None:
    """Read every new or changed image of SOURCE (a folder or s3://bucket/prefix/) once and keep its embedding.

    Stopped or killed at any moment, the same command goes on where it was.
    """
    request = EmbedRequest(
        source=source,
        store=store,
        encoder=encoder,
        random_weights=random_weights,
        device=device,
        precision=precision,
        second_encoder=second_encoder,
        options=JobOptions(
            batch_size=batch_size, part_rows=part_rows, thumbnails=not no_thumbnails, retry_failed=retry_failed
        ),
        s3=S3Options(endpoint_url, region, requester_pays),
    )
    with ExitStack() as shown:
        summary = front.run_embed(request, _announce(shown))
    _show(summary, store)
    if summary.stopped:
        sys.exit(LOOK)


def _announce(shown: ExitStack) -> OnStart:
    """Say which encoder runs where, then show progress until `shown` is closed."""

    def start(started: Started) -> Callable[[], None]:
        encoder = started.encoder
        click.echo(f"Encoder {encoder.encoder_id} on {started.device}, {encoder.precision}.", err=True)
        if encoder.caution:
            click.echo(f"Note: {encoder.caution}", err=True)
        return shown.enter_context(Display(started.tally).shown()).refresh

    return start


def _show(summary: Summary, store: str) -> None:
    work = summary.embedded + summary.not_images + sum(summary.errors.values())
    if not work and not summary.pending and not summary.stopped:
        click.echo(f"Nothing to do: all {summary.listed:,} objects of {summary.source} are in the store.")
        return
    rate = summary.embedded / summary.seconds if summary.seconds else 0.0
    click.echo(
        f"Embedded {summary.embedded:,} images in {duration(summary.seconds)} ({rate:,.1f} images/s, "
        f"{summary.bytes_read / 1e6:,.1f} MB read)."
    )
    click.echo(f"Listed {summary.listed:,} objects, {summary.already_done:,} of them done before.")
    if summary.not_images:
        click.echo(f"Not images: {summary.not_images:,}.")
    for code, count in sorted(summary.errors.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"Failed, {code}: {count:,}.")
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(summary.stage_seconds.items()))
    click.echo(f"Time by stage, summed over threads: {stages}.")
    if summary.stopped:
        click.echo("Stopped as asked; what is done is kept, and the same command goes on from here.")
    else:
        click.echo(f"Next: clipsieve score {store}")
