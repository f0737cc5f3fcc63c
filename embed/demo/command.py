"""`clipsieve demo`: the whole road on drawn scenes, from a bucket to a cleaned prefix in it, judged by the truth."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
import numpy as np

from embed.request import EmbedRequest, Summary
from store.errors import MissingExtra
from store.location import FolderLocation
from store.s3.location import S3Location
from store.s3.options import S3Options

if TYPE_CHECKING:
    from embed.demo.truth import Truth

SEED = 1
PREFIX, CLEANED = "photos", "cleaned/photos"
RULES = ("people >= 0.5 and mask >= 0.7", "people >= 0.5 and sunglasses >= 0.7")
THRESHOLDS = {"people": 0.5, "mask": 0.7, "sunglasses": 0.7}


class Table(Protocol):
    """What a sweep answers with."""

    def to_pylist(self) -> list[dict[str, float]]:
        """Return the rows."""


class Run(Protocol):
    """What an export answers with."""

    place: str
    removed: int
    kept: int
    errors: int
    listed: int


class Report(Protocol):
    """What a verification answers with."""

    sound: bool


class Store(Protocol):
    """What the demo asks of an opened store."""

    def score(self) -> object:
        """Score the shipped concepts."""

    def sweep(self, concept: str, steps: int) -> Table:
        """Return threshold, removed and kept."""

    def sql(self, query: str) -> Table:
        """Answer a query."""

    def export(self, to: str, *, remove: tuple[str, ...]) -> Run:
        """Write a run."""

    def verify(self) -> Report:
        """Read everything."""


class Count(Protocol):
    """A number of objects and their size."""

    @property
    def objects(self) -> int:
        """How many."""

    @property
    def size_bytes(self) -> int:
        """How large together."""


class Applied(Protocol):
    """How the copies stand, by a listing of where they went."""

    @property
    def there(self) -> Count:
        """What is there, equal to what was judged."""

    @property
    def is_clean(self) -> bool:
        """Whether exactly what is kept lies there."""


class Job(Protocol):
    """What applies a run."""

    def carry_out(self) -> Applied:
        """Copy what the run keeps, and list it."""


class Undone(Protocol):
    """What would be taken back."""

    @property
    def ours(self) -> Count:
        """What the run has made."""


class WayBack(Protocol):
    """What takes a run back."""

    def plan(self) -> Undone:
        """Say what would go; nothing is changed."""


class Delivery(Protocol):
    """What the demo asks of an opened run."""

    def copies(self, to: str, *, trust_conditions: bool) -> AbstractContextManager[Job]:
        """Open the job that copies what the run keeps."""

    def ways_back(self) -> Iterator[AbstractContextManager[WayBack]]:
        """Open the undoing of what was applied."""


class FrontDoor(Protocol):
    """What the demo asks of the front door, which knows both rooms."""

    def run_embed(self, request: EmbedRequest) -> Summary:
        """Run one embed job."""

    def open(self, place: str, encoder: str, s3: S3Options) -> Store:
        """Open a store at one of its encoders."""

    def open_run(self, place: str, s3: S3Options) -> Delivery:
        """Open an exported run."""


@dataclass(frozen=True)
class Walked:
    """What the road has led to."""

    summary: Summary
    swept: Mapping[float, int]  # of people: how many each threshold removes
    run: Run
    applied: Applied
    undone: Undone
    scores: Sequence[Mapping[str, object]]
    is_sound: bool


@click.command()
@click.argument("folder", default="clipsieve-demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="How many files to draw.")
@click.pass_obj
def demo(front: FrontDoor, folder: Path, pictures: int) -> None:
    """Draw scenes into a bucket of a local S3 server, go the whole road with them, and compare with the truth.

    FOLDER takes the pictures, the store and the run. The encoder understands drawn scenes, and no photographs.
    """
    from embed.demo.server import INSTALL, s3_server  # noqa: PLC0415  # only --help does without

    try:
        import embed.demo.scenes  # noqa: F401, PLC0415  # Pillow, of the same extra
    except ModuleNotFoundError as error:
        raise MissingExtra(f"The demo needs {error.name}, which is not installed.", do=INSTALL) from error

    with s3_server() as s3:
        truths = _draw(folder, pictures, s3)
        walked = _walk(front, folder, s3)
    _say_what_happened(walked)
    _say_how_right(walked.scores, truths)
    _say_what_next(folder, walked.run)
    if not (walked.is_sound and walked.applied.is_clean):
        raise SystemExit(1)


_SCORES = "select key, people, mask, sunglasses from scores join current_images using (image_id) order by key"


def _draw(folder: Path, pictures: int, s3: S3Options) -> "dict[str, Truth]":
    """Draw the scenes; return what is known of those that are pictures."""
    from embed.demo.scenes import write_scenes  # noqa: PLC0415  # beside the others that wait

    truths = {}
    with _step("draw", f"{pictures:,} files, into a folder and a bucket"):
        places = (FolderLocation(folder / PREFIX), S3Location(_uri(PREFIX), s3))
        for drawn in write_scenes(pictures, SEED):
            for copy in places:
                copy.write(drawn.name, drawn.data)
            if drawn.truth is not None:
                truths[drawn.name] = drawn.truth
    return truths


def _walk(front: FrontDoor, folder: Path, s3: S3Options) -> Walked:
    """Go the road, from the bucket to a cleaned prefix in it."""
    store = str(folder / "store")
    with _step("embed", "each read from S3 once"):
        # An older demo in this folder may have had another encoder.
        request = EmbedRequest(f"{_uri(PREFIX)}/", store, "demo", second_encoder=True, processes=1, s3=s3)
        summary = front.run_embed(request)
    opened = front.open(store, summary.encoder_id, s3)
    with _step("score", ", ".join(THRESHOLDS)):
        opened.score()
    with _step("sweep", "101 thresholds of people"):
        swept = {round(row["threshold"], 2): int(row["removed"]) for row in opened.sweep("people", 100).to_pylist()}
    with _step("export", " | ".join(RULES)):
        run = opened.export(str(folder / "runs"), remove=RULES)
    delivery = front.open_run(run.place, s3)
    with (
        _step("apply", f"what is kept, copied on the server's side to {_uri(CLEANED)}/"),
        delivery.copies(f"{_uri(CLEANED)}/", trust_conditions=True) as job,
    ):
        applied = job.carry_out()
    with _step("undo", "only asked what it would take back"):
        (way_back,) = delivery.ways_back()
        with way_back as back:
            undone = back.plan()
    with _step("verify", "every part of the store read again"):
        is_sound = opened.verify().sound
    return Walked(summary, swept, run, applied, undone, opened.sql(_SCORES).to_pylist(), is_sound)


def _uri(prefix: str) -> str:
    from embed.demo.server import BUCKET  # noqa: PLC0415  # beside the others that wait

    return f"s3://{BUCKET}/{prefix}"


def _say_what_happened(walked: Walked) -> None:
    summary, run, there = walked.summary, walked.run, walked.applied.there
    failed = ", ".join(f"{code} {number}" for code, number in sorted(summary.errors.items())) or "none"
    steps = ", ".join(f"{walked.swept[at]:,} at {at:.2f}" for at in (0.25, 0.5, 0.75))
    click.echo(f"""
What happened
  {summary.listed:,} objects listed, {summary.already_done:,} of them done before
  {summary.embedded:,} embedded now ({summary.embedded / max(summary.seconds, 1e-9):,.0f} images/s), \
{summary.not_images:,} no images, failed: {failed}
  `people >= threshold` would remove {steps}
  removed {run.removed:,}, kept {run.kept:,}, errors {run.errors:,} of {run.listed:,}
  {_uri(CLEANED)}/ holds {there.objects:,} of the {run.kept:,} kept images, {there.size_bytes:,} bytes, and \
{"nothing else" if walked.applied.is_clean else "NOT ONLY THESE"}
  `clipsieve undo` would take back {walked.undone.ours.objects:,} objects, which this run has made
  the store is {"sound" if walked.is_sound else "NOT SOUND"}""")


def _say_how_right(rows: Sequence[Mapping[str, object]], truths: Mapping[str, "Truth"]) -> None:
    from embed.demo.judge import ANSWERS, auc, f1  # noqa: PLC0415  # beside the others that wait

    known = [(row, truths[name]) for row in rows if (name := str(row["key"]).removeprefix(f"{PREFIX}/")) in truths]
    click.echo("\nHow right it was, against the truth of what was drawn")
    click.echo(f"  {'concept':12}{'among':13}{'scenes':>7}{'holds':>7}{'AUC':>8}{'threshold':>11}{'F1':>7}")
    for concept, holds in ANSWERS.items():
        asked = [(row, truth) for row, truth in known if concept == "people" or truth.face]
        scores = np.array([row[concept] for row, _ in asked], np.float64)
        yes = np.array([holds(truth) for _, truth in asked])
        among, threshold = "all scenes" if concept == "people" else "faces", THRESHOLDS[concept]
        click.echo(
            f"  {concept:12}{among:13}{len(yes):7,}{yes.sum():7,}{auc(scores, yes):8.3f}{threshold:11.2f}"
            f"{f1(scores, yes, threshold):7.3f}"
        )


def _say_what_next(folder: Path, run: Run) -> None:
    store = folder / "store"
    click.echo(f"""
Where it lies
  pictures  {folder / PREFIX}
  store     {store}
  run       {run.place}
  report    {run.place}/report.html: open it in a browser
  bucket    in memory, and gone with this command

What to try next
  clipsieve status {store}
  clipsieve sweep {store} people
  clipsieve sql {store} "select uri, people from scores order by people desc limit 20"
  clipsieve export {store} --remove 'people >= 0.6 and width_px < 160' --to {folder / "runs"}

The same with a bucket of yours
  clipsieve embed s3://BUCKET/train/ --store ./store --encoder ViT-B-32/laion2b_s34b_b79k
  clipsieve score ./store
  clipsieve export ./store people-strict --to ./runs
  clipsieve apply ./runs/RUN_ID --to s3://BUCKET/cleaned/train/
  clipsieve undo ./runs/RUN_ID""")  # noqa: S608  # text for a person


@contextmanager
def _step(name: str, what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    click.echo(f"{name:8} {time.perf_counter() - began:6.1f} s   {what}")
