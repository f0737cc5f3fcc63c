"""The command of pass 1."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Protocol

import click

from embed.estimate.record import Estimate
from embed.notes import as_json, notes_to
from embed.options import selection_of, shard_of, show_estimate, source_options
from embed.progress import PYTHON, Display, duration
from embed.request import EmbedRequest, JobOptions, OnStart, Started, Summary
from embed.size import Size
from store.s3 import S3Options
from store.shards import WHOLE

LOOK = 3
"""Exit code: done, with something to look at."""


class FrontDoor(Protocol):
    """What this command asks of the front door, which knows both rooms."""

    def run_embed(self, request: EmbedRequest, on_start: OnStart) -> Summary:
        """Run one embed job with the prompts of the shipped concepts."""

    def estimate_embed(self, request: EmbedRequest) -> Estimate:
        """Say what one embed job would take."""


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
    "--compile",
    is_flag=True,
    help="Compile the model first, by torch.compile: pays on a GPU and many images, costs minutes before the first.",
)
@click.option(
    "--part-rows",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    help="Rows after which a part is written; a minute is the other limit.",
)
@click.option(
    "--decode",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "full", "draft", "gpu"]),
    help="draft decodes large JPEGs smaller, gpu decodes JPEGs by CUDA: other pixels, so another encoder each. auto is "
    "what the store has.",
)
@click.option(
    "--decoders",
    type=click.IntRange(0),
    metavar="N",
    help="Processes that decode; one per core. 0 decodes in the job itself, which a bad file may then crash.",
)
@click.option("--decode-timeout", type=click.FloatRange(0.001), default=120.0, show_default=True, metavar="SECONDS")
@click.option(
    "--memory",
    type=Size(),
    help="For images in flight of all processes, beside the models: bytes read, and pixels of large pictures.  "
    "[default: 4GB for each process]",
)
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long an outage is waited for; then the job ends, and what is left stays pending.",
)
@click.option("--no-thumbnails", is_flag=True, help="Keep no small pictures; they take about 4 KB each.")
@click.option("--retry-failed", is_flag=True, help="Read images again that failed before.")
@click.option(
    "--second-encoder",
    is_flag=True,
    help="Allow another encoder than the store has beside it: other weights, another precision or version.",
)
@click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS.")
@click.option("--region", help="The bucket's region.")
@click.option(
    "--log-format",
    default="text",
    show_default=True,
    type=click.Choice(["text", "json"]),
    help="json: an object per line, progress on stderr and the summary on stdout.",
)
@click.option("--metrics", metavar="FILE", help="Keep the job's numbers in FILE, for Prometheus.")
@click.option("--requester-pays", is_flag=True, help="Accept to pay for requests and transfer.")
@source_options
@click.pass_obj
def embed(
    front: FrontDoor,
    /,
    source: str,
    store: str,
    encoder: str,
    *,
    random_weights: bool,
    device: str,
    precision: str,
    batch_size: int,
    part_rows: int,
    decode: str,
    decoders: int | None,
    decode_timeout: float,
    memory: int | None,
    patience: float,
    no_thumbnails: bool,
    retry_failed: bool,
    second_encoder: bool,
    endpoint_url: str | None,
    region: str | None,
    log_format: str,
    metrics: str | None,
    requester_pays: bool,
    **words: Any,
) -> None:
    """Read every new or changed image of SOURCE once and keep its embedding.

    SOURCE is a folder, s3://bucket/prefix/, WebDataset tars (s3://bucket/{000..127}.tar, folder/*.tar; each picture in
    them is an image), or a list of URIs (.parquet, .csv; s3, http, https, file) whose other columns are kept as well.

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
        decode=decode,
        metrics=metrics,
        selection=selection_of(words),
        uri_column=words["uri_column"],
        inventory=words["inventory"],
        engine=words["engine"],
        processes=words["processes"],
        options=JobOptions(
            batch_size=batch_size,
            compile=words["compile"],
            part_rows=part_rows,
            thumbnails=not no_thumbnails,
            retry_failed=retry_failed,
            shard=shard_of(words),
            memory_bytes=memory,
            decoders=decoders,
            decode_timeout_s=decode_timeout,
            patience_s=patience,
        ),
        s3=S3Options(endpoint_url, region, requester_pays),
    )
    if words["estimate"]:
        show_estimate(front.estimate_embed(request), words["price_per_gb"], is_json=log_format == "json")
        return
    with ExitStack() as shown:
        if log_format == "json":
            shown.enter_context(notes_to(lambda words: click.echo(as_json(words), err=True)))
        announce = _announce(shown, as_json=log_format == "json", compiles=words["compile"])
        summary = front.run_embed(request, announce)
    if log_format == "json":
        click.echo(json.dumps({"event": "summary", **asdict(summary), "pending": summary.pending}))
    else:
        _show(summary, store)
        _advise(summary, request)
    if summary.stopped:
        sys.exit(LOOK)


def _announce(shown: ExitStack, *, as_json: bool, compiles: bool) -> OnStart:
    """Say which encoder runs where, then show progress until `shown` is closed."""

    def start(started: Started) -> Callable[[], None]:
        encoder = started.encoder
        if as_json:
            words = {"encoder": encoder.encoder_id, "device": started.device, "precision": encoder.precision}
            click.echo(json.dumps({"event": "start", **words, "caution": encoder.caution}), err=True)
        else:
            click.echo(f"Encoder {encoder.encoder_id} on {started.device}, {encoder.precision}.", err=True)
            if encoder.caution:
                click.echo(f"Note: {encoder.caution}", err=True)
            if compiles:
                click.echo("Compiling the image tower first; nothing moves for a minute or two.", err=True)
        return shown.enter_context(Display(started.tally, as_json=as_json).shown()).refresh

    return start


def _show(summary: Summary, store: str) -> None:
    work = summary.embedded + summary.not_images + sum(summary.errors.values())
    if not work and not summary.pending and not summary.stopped:
        held = f"all {summary.listed:,} objects of {summary.source} are in the store"
        click.echo(f"Nothing to do: {held if summary.listed else f'no object of {summary.source} is in this share'}.")
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
    if summary.stage_busy:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in sorted(summary.stage_seconds.items()))
        click.echo(f"Time by stage, summed over threads: {stages}.")
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(summary.stage_busy.items()))
        limit = f"; limited by {summary.limited_by}" if summary.limited_by else ""
        click.echo(f"Busy: {shares}; encode is the device{limit}.")
    if device := summary.on_device:
        refused = f", {device.refused:,} left to the CPU" if device.refused else ""
        click.echo(f"JPEGs decoded on the device: {device.decoded:,}{refused}. {device.sentence}")
        if device.caution:
            click.echo(f"Note: {device.caution}")
    if summary.stopped:
        click.echo("Stopped as asked; what is done is kept, and the same command goes on from here.")
    else:
        click.echo(f"Next: clipsieve score {store}")


def _advise(summary: Summary, request: EmbedRequest) -> None:
    """Say what helps where the processes cannot handle images, or ask S3, as fast as the device embeds."""
    alone = summary.processes == 1 and request.options.shard == WHOLE
    if summary.limited_by == "read" and alone and summary.source.startswith("s3://"):
        click.echo("Reading limits, so the device waits: several processes read more, also on one GPU: --processes 4.")
    if summary.limited_by == PYTHON and request.options.shard == WHOLE:
        more = f"--processes {2 * summary.processes}"
        click.echo(f"The job's own Python limits, so the device waits: more processes help while cores last: {more}.")
