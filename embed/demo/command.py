"""`clipsieve demo`: the whole road on scenes drawn for the purpose, from a bucket to manifests, judged by the truth."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click
import numpy as np

from embed.request import EmbedRequest, Summary
from store.errors import MissingExtra
from store.location import FolderLocation
from store.s3 import S3Location

if TYPE_CHECKING:
    from embed.demo.truth import Truth

SEED = 1
PREFIX = "photos"
RULES = ("people >= 0.5 and mask >= 0.7", "people >= 0.5 and sunglasses >= 0.7")
THRESHOLDS = {"people": 0.5, "mask": 0.7, "sunglasses": 0.7}
_ON_SHEET = 12


class Table(Protocol):
    """What a sweep answers with."""

    def to_pylist(self) -> list[dict[str, float]]:
        """Return the rows."""


class Run(Protocol):
    """What an export answers with."""

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
        """Write the manifests."""

    def verify(self) -> Report:
        """Read everything."""


class FrontDoor(Protocol):
    """What the demo asks of the front door, which knows both rooms."""

    def run_embed(self, request: EmbedRequest) -> Summary:
        """Run one embed job."""

    def open(self, place: str, encoder: str) -> Store:
        """Open a store at one of its encoders."""


@click.command()
@click.argument("folder", default="clipsieve-demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="How many files to draw.")
@click.pass_obj
def demo(front: FrontDoor, folder: Path, pictures: int) -> None:
    """Draw scenes into a bucket of a local S3 server, embed them, score, sweep, export, and compare with the truth.

    FOLDER takes the pictures, the store and the manifests. The encoder understands drawn scenes, and no photographs.
    """
    from embed.demo.server import BUCKET, INSTALL, s3_server  # noqa: PLC0415  # only --help does without

    try:
        from embed.demo.scenes import write_scenes  # noqa: PLC0415  # Pillow, of the same extra
    except ModuleNotFoundError as error:
        raise MissingExtra(f"The demo needs {error.name}, which is not installed.", do=INSTALL) from error

    store = str(folder / "store")
    run = next(place for n in count(1) if not (place := folder / f"run-{n}").exists())
    truths: dict[str, Truth] = {}
    with s3_server() as s3:
        with _step("draw", f"{pictures:,} files, into a folder and a bucket"):
            places = (FolderLocation(folder / PREFIX), S3Location(f"s3://{BUCKET}/{PREFIX}", s3))
            for drawn in write_scenes(pictures, SEED):
                for copy in places:
                    copy.write(drawn.name, drawn.data)
                if drawn.truth is not None:
                    truths[drawn.name] = drawn.truth
        with _step("embed", "each read from S3 once"):
            summary = front.run_embed(EmbedRequest(f"s3://{BUCKET}/{PREFIX}/", store, "demo", s3=s3))
    opened = front.open(store, summary.encoder_id)  # an older demo in this folder may have had another encoder
    with _step("score", ", ".join(THRESHOLDS)):
        opened.score()
    with _step("sweep", "101 thresholds of people"):
        swept = {round(row["threshold"], 2): int(row["removed"]) for row in opened.sweep("people", 100).to_pylist()}
    with _step("export", " | ".join(RULES)):
        written = opened.export(str(run), remove=RULES)
    with _step("verify", "every part read again"):
        sound = opened.verify().sound
    with _step("look", "a contact sheet"):
        _write_sheet(opened, run.parent / f"{run.name}.html")
    _say_what_happened(summary, swept, written, sound=sound)
    _say_how_right(opened.sql(_SCORES).to_pylist(), truths)
    _say_what_next(folder, store, run)
    if not sound:
        raise SystemExit(1)


_SCORES = "select key, people, mask, sunglasses from scores join current_images using (image_id) order by key"

_SHEET = """
select webp, s.uri, format('people {:.2f}, mask {:.2f}, sunglasses {:.2f}', people, mask, sunglasses) as caption
from scores as s join thumbnails using (image_id)
"""


def _write_sheet(opened: Store, place: Path) -> None:
    from embed.demo.sheet import write_sheet  # noqa: PLC0415  # beside the others that wait

    sections: dict[str, Sequence[Mapping[str, object]]] = {}
    for concept, threshold in THRESHOLDS.items():
        for title, order in (
            (f"Over the threshold: {concept} >= {threshold}, the most certain", f"{concept} desc"),
            (f"Nearest to the threshold of {concept}, {threshold}", f"abs({concept} - {threshold})"),
            (f"Under the threshold: {concept} < {threshold}, the most certain", f"{concept}"),
        ):
            sections[title] = opened.sql(f"{_SHEET} order by {order}, s.uri limit {_ON_SHEET}").to_pylist()
    write_sheet(place, "clipsieve demo: removed, kept, and nearest to the threshold", sections)


def _say_what_happened(summary: Summary, swept: Mapping[float, int], run: Run, *, sound: bool) -> None:
    failed = ", ".join(f"{code} {number}" for code, number in sorted(summary.errors.items())) or "none"
    steps = ", ".join(f"{swept[at]:,} at {at:.2f}" for at in (0.25, 0.5, 0.75))
    click.echo(f"""
What happened
  {summary.listed:,} objects listed, {summary.already_done:,} of them done before
  {summary.embedded:,} embedded now ({summary.embedded / max(summary.seconds, 1e-9):,.0f} images/s), \
{summary.not_images:,} no images, failed: {failed}
  `people >= threshold` would remove {steps}
  removed {run.removed:,}, kept {run.kept:,}, errors {run.errors:,} of {run.listed:,}
  the store is {"sound" if sound else "NOT SOUND"}""")


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


def _say_what_next(folder: Path, store: str, run: Path) -> None:
    click.echo(f"""
Where it lies
  pictures       {folder / PREFIX}
  store          {store}
  manifests      {run}
  contact sheet  {run}.html

What to try next
  clipsieve status {store}
  clipsieve sweep {store} people
  clipsieve sql {store} "select uri, people from scores order by people desc limit 20"
  clipsieve export {store} --remove 'people >= 0.6 and width_px < 160' --to {folder / "another-run"}
  clipsieve embed ./photos --store ./store --encoder ViT-B-32/laion2b_s34b_b79k""")  # noqa: S608  # text for a person


@contextmanager
def _step(name: str, what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    click.echo(f"{name:8} {time.perf_counter() - began:6.1f} s   {what}")
