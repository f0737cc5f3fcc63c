"""What an image costs the job's own process, whose Python is one core: so many images a second it can feed a device.

CPU time and not the clock's, of the job alone: its decoders and the S3 server are processes of their own. The model
runs in the job's process, so what it takes is measured alone, on ready batches, and taken off.
"""

import os
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

import clipsieve
from bench.machine import apart
from embed.encoders import load_towers, parse_encoder
from embed.encoders.torchvision_shim import wait_passively
from embed.request import EmbedRequest, Started
from store.s3 import S3Options
from tests.pictures import picture_bytes
from tests.servers.rclone_server import rclone_server
from tests.tiny_encoder import write_tiny_encoder

BUCKET = "bench-feed"
BOTO3 = "S3, by boto3"
NOTHING = re.compile(r"(?!)")
"""No request looks like this, so none is taken from boto3."""

BATCH = 64
"""Images per forward pass, as a job has it by default."""


@dataclass(frozen=True)
class Spent:
    """CPU seconds of this process, all of its threads together."""

    user: float
    system: float

    def less(self, other: "Spent") -> "Spent":
        """Return what is left without the other's."""
        return Spent(self.user - other.user, self.system - other.system)

    def each(self, count: int) -> "Spent":
        """Return the share of one of so many."""
        return Spent(self.user / count, self.system / count)


def run(images: int, rounds: int, folder: Path) -> None:
    """Embed so many small JPEGs from a folder and from S3, and print what each costs the job's process.

    From S3 also as boto3 alone would read them, which is the baseline there.
    """
    album = folder / "album"
    write_album(album, images)
    encoder = f"local-dir:{apart(write_tiny_encoder, folder / 'tiny')}"
    model = _model_alone(encoder)
    print(f"{images:,} JPEGs; the model alone takes {_words(model)}, taken off")
    with rclone_server() as server:
        os.environ.update(server.environment())
        _upload(album)
        for number in range(rounds):
            for name, source in (("folder", str(album)), ("S3", f"s3://{BUCKET}/"), (BOTO3, f"s3://{BUCKET}/")):
                with patch("store.s3.gets._SIGNED", NOTHING) if name == BOTO3 else nullcontext():
                    cost, rate = _of_job(source, folder / f"store-{name}-{number}", encoder)
                own = cost.less(model)
                most = 1 / (own.user + own.system)
                print(f"{name:16}{_words(own)}: at most {most:6,.0f} images/s ({rate:,.0f} here)", flush=True)


def write_album(album: Path, images: int) -> None:
    """Write so many small JPEGs, of 200 contents, 1,000 to a folder."""
    contents = [picture_bytes(number) for number in range(200)]
    for number in range(images):
        place = album / f"{number // 1000:04}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{number:07}.jpg").write_bytes(contents[number % len(contents)])


def _of_job(source: str, store: Path, encoder: str) -> tuple[Spent, float]:
    """Return what an image costs from the job's start to its end, the model too, and images/s."""
    began: list[tuple[Spent, float]] = []

    def on_start(_: Started) -> Callable[[], None]:
        began.append((_spent(), time.perf_counter()))
        return lambda: None

    summary = clipsieve.run_embed(EmbedRequest(source, str(store), encoder, device="cpu"), on_start)
    (before, at), after = began[0], _spent()
    return after.less(before).each(summary.embedded), summary.embedded / (time.perf_counter() - at)


def _model_alone(encoder: str) -> Spent:
    """Return what an image costs the model, in ready batches."""
    wait_passively()
    tower = load_towers(parse_encoder(encoder), device="cpu").image
    batch = np.random.default_rng(0).integers(0, 256, (BATCH, *tower.input_shape), dtype=np.uint8)
    tower.encode(batch)
    before, batches = _spent(), 50
    for _ in range(batches):
        tower.encode(batch)
    return _spent().less(before).each(batches * BATCH)


def _upload(album: Path) -> None:
    client = S3Options().client()
    client.create_bucket(Bucket=BUCKET)
    files = [path for path in album.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(8) as pool:
        put = [pool.submit(client.put_object, Bucket=BUCKET, Key=f.name, Body=f.read_bytes()) for f in files]
        for one in put:
            one.result()


def _spent() -> Spent:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(used.ru_utime, used.ru_stime)


def _words(cost: Spent) -> str:
    return f"{1000 * cost.user:5.3f} ms user, {1000 * cost.system:5.3f} ms system"
