"""From a run to a cleaned prefix or folder, and back."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from query.cli.common import LOOK
from query.cli.runs import FrontDoor, on_run, s3_options
from query.deliver.apply.copies import ApplyOptions, CopyJob
from query.deliver.apply.delivery import WayBack
from query.deliver.apply.in_place.job import InPlaceJob
from query.deliver.apply.in_place.plan import InPlacePlan
from query.deliver.apply.plan import Prices
from query.deliver.apply.undo import UndoPlan
from query.output import megabytes, show
from store.errors import UsageError
from store.s3.copying.records import CopyOptions

_PRICES = Prices()
_EXAMPLES = 5
_STATES = {
    "to_copy": "to copy",
    "copied": "copied",
    "already_there": "already there",
    "changed": "changed at the source since it was judged",
    "vanished": "vanished from the source",
    "forbidden": "forbidden",
    "failed": "failed",
    "missing": "copied, but no longer there",
    "occupied": "another object is at its key, and stays",
    "unsettled": "left by a process that ended; to be compared",
    "to_move": "to move",
    "moved": "moved",
}
_AT_THE_FOLDER = {
    "changed": "changed since it was judged, and stays",
    "unknown": "its vector was imported, so nobody knows which file was judged; it stays",
    "vanished": "no longer there",
    "occupied": "a file of its name is there already, and it stays",
}


_yes = click.option("--yes", is_flag=True, help="Do it. Without this, only what would be done is shown.")
_trust = click.option(
    "--trust-conditions",
    is_flag=True,
    help="The service honours conditional copies and deletes, as AWS does; others are asked before each.",
)


@click.command()
@click.option("--to", metavar="s3://BUCKET/PREFIX/", help="Copy what the run keeps below this prefix.")
@click.option("--in-place", is_flag=True, help="In the folder that was judged, move aside what the run does not keep.")
@_yes
@click.option(
    "--whole-keys", is_flag=True, help="Keep bucket and whole key below the prefix, not the key in the source."
)
@click.option(
    "--storage-class", metavar="CLASS", help="Of the copies: STANDARD (the default), STANDARD_IA, …, or keep."
)
@click.option(
    "--encryption",
    type=click.Choice(["AES256", "aws:kms", "aws:kms:dsse", "keep"]),
    help="Of the copies; by default what the destination's bucket does.",
)
@click.option("--kms-key-id", metavar="ID", help="The key for --encryption aws:kms.")
@click.option("--tags/--no-tags", default=True, show_default=True, help="Copy the objects' tags.")
@click.option("--workers", type=click.IntRange(1, 256), default=64, show_default=True, help="Copies at a time.")
@click.option(
    "--price-per-1000-requests",
    type=float,
    default=_PRICES.per_1000_requests,
    show_default=True,
    metavar="DOLLARS",
    help="COPY, PUT, POST and LIST. Defaults: S3 Standard in us-east-1 as of November 2025, aws.amazon.com/s3/pricing.",
)
@click.option(
    "--price-per-1000-reads",
    type=float,
    default=_PRICES.per_1000_reads,
    show_default=True,
    metavar="DOLLARS",
    help="HEAD and GET.",
)
@click.option(
    "--price-per-gb-month",
    type=float,
    default=_PRICES.per_gb_month,
    show_default=True,
    metavar="DOLLARS",
    help="Keeping the copies.",
)
@_trust
@on_run
def apply(front: FrontDoor, run: str, *, yes: bool, to: str | None, in_place: bool, **words: Any) -> None:
    """Copy the images that RUN keeps to a clean prefix, or move aside in their folder those that it does not keep.

    RUN is what `clipsieve export` has written: a folder or s3://bucket/prefix. Only images that still are what was
    judged are copied or moved, nothing is overwritten, and in a bucket the source is only read. Ended at any moment,
    the same command goes on. `clipsieve undo RUN` takes it back.
    """
    if (to is None) == (not in_place):
        raise UsageError("Where to?", do="Give either --to s3://BUCKET/PREFIX/ or --in-place.")
    trust = words.pop("trust_conditions") or None
    delivery = front.open_run(run, s3_options(words))
    prices = Prices(*(words.pop(f"price_per_{name}") for name in ("1000_requests", "1000_reads", "gb_month")))
    whole_keys, workers = words.pop("whole_keys"), words.pop("workers")
    if to is not None:
        options = ApplyOptions(CopyOptions(**words), whole_keys, workers, trust)
        with delivery.copies(to, options) as job:
            is_clean = _copy(job, prices, yes=yes)
    else:
        is_clean = True
        for opened in delivery.in_place():
            with opened as in_place_job:
                is_clean &= _move(in_place_job, yes=yes)
    if not yes:
        click.echo("Nothing has been done yet: add --yes to do it.")
    elif not is_clean:
        sys.exit(LOOK)


@click.command()
@click.option("--to", metavar="PLACE", help="Only what was done at this prefix or folder.")
@_yes
@_trust
@on_run
def undo(front: FrontDoor, run: str, *, yes: bool, to: str | None, **words: Any) -> None:
    """Take back exactly what `clipsieve apply` has made or moved for RUN, and nothing else.

    What is not ours any more stays. In a bucket with versions exactly our version goes: all is as it was before.
    """
    trust = words.pop("trust_conditions") or None
    delivery = front.open_run(run, s3_options(words))
    jobs = list(delivery.ways_back(to, honours_conditions=trust))
    if not jobs:
        click.echo("There is nothing to undo: this run was not applied" + (f" to {to}." if to else "."))
        return
    is_clean = True
    for opened in jobs:
        with opened as job:
            is_clean &= _take_back(job, yes=yes)
    if not yes:
        click.echo("Nothing has been done yet: add --yes to do it.")
    elif not is_clean:
        sys.exit(LOOK)


def _copy(job: CopyJob, prices: Prices, *, yes: bool) -> bool:
    plan = job.plan()
    _show_states({_STATES[name]: count for name, count in plan.states.items()})
    requests = ", ".join(f"{number:,} {kind}" for kind, number in plan.requests.items())
    click.echo(
        f"To {plan.destination}: {plan.to_do.objects:,} objects, {megabytes(plan.to_do.size_bytes)}; about {requests} "
        f"requests, ${plan.cost(prices):,.2f}, and ${plan.cost_per_month(prices):,.2f} a month to keep the copies."
    )
    if not yes:
        return True
    with _progress("Copying") as on_progress:
        after = job.carry_out(on_progress)
    _show_states({_STATES[name]: count for name, count in after.states.items()}, title="Done")
    there, kept = after.there, after.kept
    click.echo(
        f"{after.destination} holds {there.objects:,} of the {kept.objects:,} images that the run keeps, "
        f"{there.size_bytes:,} of {kept.size_bytes:,} bytes."
    )
    if after.others.objects:
        click.echo(
            f"{after.others.objects:,} other objects lie there too, for example {after.other_example}.", err=True
        )
    for row in job.to_be_looked_at(_EXAMPLES):
        click.echo(
            f"  {_one_line(row['uri'])}: {_STATES[row['state']]}" + (f" ({row['detail']})" if row["detail"] else ""),
            err=True,
        )
    if there.objects < kept.objects:
        click.echo(f"All of them: {job.record}/not_copied.csv", err=True)
    return after.is_clean


def _move(job: InPlaceJob, *, yes: bool) -> bool:
    plan = job.plan()
    _show_in_place(plan)
    if not yes:
        return True
    with _progress("Moving") as on_progress:
        after = job.carry_out(on_progress)
    moved = after.states.get("moved")
    written = f"{plan.manifests:,} manifests and {plan.archives:,} archives were written anew"
    click.echo(f"Moved {moved.objects if moved else 0:,} images; {written}.")
    for path, why in after.not_moved[:_EXAMPLES]:
        click.echo(f"  {_one_line(path)}: {_AT_THE_FOLDER.get(why, why)}", err=True)
    if after.not_moved:
        click.echo(f"All {len(after.not_moved):,} that stay: {job.record}/not_moved.csv", err=True)
    for manifest, word in after.still_named[:_EXAMPLES]:
        click.echo(f"  {manifest} still names {word}, in a place that is no entry of a list.", err=True)
    return after.is_clean


def _take_back(job: WayBack, *, yes: bool) -> bool:
    plan = job.plan()
    _show_undo(plan)
    if not yes:
        return True
    with _progress("Taking back") as on_progress:
        left = job.carry_out(on_progress)
    click.echo(f"Taken back: {plan.ours.objects - left.ours.objects:,}; left: {left.ours.objects:,}.")
    return not (left.ours.objects or plan.not_ours)


def _show_states(states: dict[str, Any], title: str | None = None) -> None:
    rows = [[name, count.objects, megabytes(count.size_bytes)] for name, count in states.items()]
    show(["images that the run keeps", "objects", "size"], rows, title=title)


def _show_in_place(plan: InPlacePlan) -> None:
    rows = [[f"{folder}/", count.objects, megabytes(count.size_bytes)] for folder, count in plan.folders.items()]
    show([f"goes below {plan.root} to", "images", "size"], rows)
    groups = ", ".join(f"{number:,} to {folder}/" for folder, number in plan.groups.items())
    written = f"{plan.manifests:,} manifests and {plan.archives:,} archives are written anew"
    click.echo(f"{written}{f'; groups that go as a whole: {groups}' if groups else ''}.")
    stays = {_AT_THE_FOLDER[state]: count for state, count in plan.states.items() if state in _AT_THE_FOLDER}
    for why, count in stays.items():
        click.echo(f"{count.objects:,} images: {why}.", err=True)


def _show_undo(plan: UndoPlan) -> None:
    click.echo(f"{plan.destination}: {plan.ours.objects:,} to take back, {megabytes(plan.ours.size_bytes)}.")
    if plan.unfinished_uploads:
        click.echo(f"{plan.unfinished_uploads:,} unfinished uploads are dropped.")
    if plan.gone:
        click.echo(f"{plan.gone:,} are gone already.")
    if plan.not_ours:
        examples = ", ".join(map(_one_line, plan.not_ours_examples))
        click.echo(f"{plan.not_ours:,} are not ours any more, and stay: {examples}.", err=True)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def on_progress(done: int, every: int) -> None:
            bar.length = every
            bar.update(done - bar.pos)

        yield on_progress


def _one_line(name: str) -> str:
    """Return a name with what breaks a line, or is nothing to be seen, spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
