"""`clipsieve demo`: the whole road on pictures drawn for the purpose, with nothing from outside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

import click

from embed.request import EmbedRequest, Summary

ENCODER = "ViT-S-32-alt"
SEED = 1
RULES = ("people >= 0.5", "sunglasses >= 0.7", "mask >= 0.7")


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

    def export(self, to: str, remove: tuple[str, ...]) -> Run:
        """Write the manifests."""

    def verify(self) -> Report:
        """Read everything."""


class FrontDoor(Protocol):
    """What the demo asks of the front door, which knows both rooms."""

    def run_embed(self, request: EmbedRequest) -> Summary:
        """Run one embed job."""

    def open(self, place: str) -> Store:
        """Open a store."""


@click.command()
@click.argument("folder", default="clipsieve-demo", type=click.Path(file_okay=False, path_type=Path))
@click.option("--pictures", type=click.IntRange(1), default=300, show_default=True, help="How many files to draw.")
@click.pass_obj
def demo(front: FrontDoor, folder: Path, pictures: int) -> None:
    """Draw pictures into FOLDER, embed them, score, sweep, export and verify, and say what happened.

    The encoder is a small open_clip model with random weights: every step is real, but no score means anything.
    """
    photos, store = folder / "photos", folder / "store"
    run = next(place for n in count(1) if not (place := folder / f"run-{n}").exists())
    with _step("draw"):
        draw_photos(photos, pictures)
    with _step("embed"):
        request = EmbedRequest(source=str(photos), store=str(store), encoder=ENCODER, random_weights=True)
        summary = front.run_embed(request)
    opened = front.open(str(store))
    with _step("score"):
        opened.score()
    with _step("sweep"):
        swept = opened.sweep("people", 4).to_pylist()
    with _step("export"):
        written = opened.export(str(run), RULES)
    with _step("verify"):
        sound = opened.verify().sound
    _say_what_happened(summary, swept, written, sound=sound)
    _say_what_next(photos, store, run)
    if not sound:
        raise SystemExit(1)


def _say_what_happened(summary: Summary, swept: list[dict[str, float]], run: Run, *, sound: bool) -> None:
    failed = ", ".join(f"{code} {number}" for code, number in sorted(summary.errors.items())) or "none"
    steps = ", ".join(f"{step['removed']:,} at {step['threshold']:g}" for step in swept)
    click.echo(f"""
What happened
  {summary.listed:,} files listed, {summary.already_done:,} of them done before
  {summary.embedded:,} embedded now, {summary.not_images:,} no images, failed: {failed}
  removed by `people >= threshold`: {steps}
  removed {run.removed:,}, kept {run.kept:,}, errors {run.errors:,} of {run.listed:,}
  the store is {"sound" if sound else "NOT SOUND"}
  the weights are random, so this shows how it works, and nothing about the pictures""")


def _say_what_next(photos: Path, store: Path, run: Path) -> None:
    click.echo(f"""
Where it lies
  pictures   {photos}
  store      {store}
  manifests  {run}

What to try next
  clipsieve status {store}
  clipsieve sweep {store} people
  clipsieve sql {store} "select uri, people from scores order by people desc limit 20"
  clipsieve export {store} --remove 'people >= 0.6 and width_px < 160' --to {store.parent / "another-run"}
  clipsieve embed ./photos --store ./store --encoder ViT-B-32/laion2b_s34b_b79k""")  # noqa: S608  # text for a person


def draw_photos(folder: Path, pictures: int) -> None:
    """Fill a folder with drawn scenes, near-duplicates among them and some damaged files; what is there stays."""
    from embed.demo.scenes import write_scenes  # noqa: PLC0415  # Pillow, which --help does without

    for drawn in write_scenes(pictures, SEED):
        place = folder / drawn.name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(drawn.data)


@contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    click.echo(f"{name:8} {seconds:6.1f} s")
