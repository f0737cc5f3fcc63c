"""Options of `embed` that say what of a source is read, by whom, and what it will cost."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import click

from embed.estimate.record import PRICE_PER_GB, PRICE_SOURCE, Estimate
from embed.progress import duration
from embed.sources import Selection
from store.errors import UsageError
from store.shards import WHOLE, Shard

_GIGABYTE = 1e9

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--include",
        multiple=True,
        metavar="PATTERN",
        help="Only what matches: '*.jpg', 'train/*'. Matched against the name below SOURCE, * stands for / too; "
        "may be given several times.",
    ),
    click.option(
        "--exclude", multiple=True, metavar="PATTERN", help="Not what matches, also where --include would take it."
    ),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N images of the listing."),
    click.option("--sample", type=click.IntRange(1), metavar="N", help="Only N images, drawn at random."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of --sample: the same seed, the same images."),
    click.option("--uri-column", metavar="NAME", help="Of a list: the column of URIs, if it is not called uri or url."),
    click.option(
        "--inventory",
        metavar="MANIFEST",
        help="List the prefix by an S3 Inventory: the path of its manifest.json, in Parquet or CSV.",
    ),
    click.option("--shard", metavar="I/N", help="Embed one of N shares of the images, for jobs started by hand."),
    click.option(
        "--processes",
        type=click.IntRange(1),
        metavar="N",
        help="Processes on this machine, in turn on its GPUs.  [default: for each GPU one per 4 of its cores and per "
        "6 GB of its memory, 1 to 4; 1 without a GPU]",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="ray: as Ray Data, on the cluster of RAY_ADDRESS or this machine.",
    ),
    click.option(
        "--estimate", is_flag=True, help="List, try 200 images, say what the job would take and cost, write nothing."
    ),
    click.option(
        "--price-per-gb",
        type=float,
        default=PRICE_PER_GB,
        show_default=True,
        metavar="DOLLARS",
        help=f"Of --estimate: transfer out of S3. Default: {PRICE_SOURCE}; within a region it is 0.",
    ),
)


def source_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selection_of(words: Mapping[str, Any]) -> Selection:
    """Return what of the source the options ask for."""
    return Selection(words["include"], words["exclude"], words["limit"], words["sample"], words["seed"])


def shard_of(words: Mapping[str, Any]) -> Shard:
    """Return the share that the options ask for; raise UsageError where they contradict each other."""
    if words["shard"] is not None and words["processes"] not in {None, 1}:
        raise UsageError("--shard and --processes both divide the work.", do="Give one of them.")
    return WHOLE if words["shard"] is None else Shard.parse(words["shard"])


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIGABYTE:,.2f} GB" if size_bytes >= _GIGABYTE else f"{size_bytes / 1e6:,.2f} MB"


def show_estimate(found: Estimate, price_per_gb: float, *, is_json: bool) -> None:
    """Print an estimate, as text or as one object."""
    cost = found.transfer_cost(price_per_gb)
    if is_json:
        said = {"hours": found.hours, "store_bytes": found.store_bytes, "price_per_gb": price_per_gb}
        click.echo(json.dumps({**asdict(found), **said, "transfer_dollars": cost}))
        return
    click.echo(
        f"{found.source} lists {found.listed:,} objects; {found.already_done:,} are done, {found.pending:,} are left, "
        f"{_size(found.pending_bytes)}."
    )
    if not found.sampled:
        click.echo("Nothing to do.")
        return
    click.echo(
        f"Tried {found.sampled:,} of these on {found.device}: {found.rate:,.1f} objects/s, "
        f"{found.sampled_failed:,} without an embedding."
    )
    click.echo(
        f"Time: {duration(found.hours * 3600)} at that rate ({found.hours:,.2f} h); a long run is rather faster."
    )
    click.echo(f"Store: {_size(found.store_bytes)} more.")
    if found.from_s3:
        source = f" ({PRICE_SOURCE})" if price_per_gb == PRICE_PER_GB else ""
        click.echo(
            f"Transfer out of S3: ${cost:,.2f} at ${price_per_gb} per GB{source}; nothing from within the region."
        )
    click.echo("Nothing was written to the store.")
