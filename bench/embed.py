"""Pass 1 against its floor: what decoding, the model and fetching allow, each alone, and what the whole job does.

    python -m bench.embed [--photos FOLDER] [--encoder MODEL/PRETRAINED] [--limit N] [--decoders 0] [--batch-size 64]
    python -m bench.embed --random-weights --encoder ViT-L-14 [--local] [--compile]    for a GPU: an architecture, and
                                              the job from the folder itself
    python -m bench.embed --latency 50        the job against the loop that users write, a far server, a small model
    python -m bench.embed --clip-retrieval PYTHON      the peer too: an environment with clip-retrieval 2.45;
                                              with --rounds 0 the peer alone
    python -m bench.embed --start             one photo as a whole process, beside importing torch and open_clip alone
    python -m bench.embed --growth 200000     memory over a long run: small images, a tiny encoder
    python -m bench.embed --feed [5000]       what an image costs the job's own process: how fast that can feed a device
    python -m bench.embed --bombs 50          memory with files among the images whose pixels take gigabytes

The baselines are taken in the same run, and again in each of several rounds (`--rounds`): a machine's own speed changes
from minute to minute. On a CPU all stages share its cores, with the S3 server, so the floor of the job is the sum of
what an image costs at each stage alone; on a GPU it is the slowest stage. Without `--photos`, scenes are drawn. Without
`--encoder` the weights are random: the work is the same.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import clipsieve
from bench import embed_bombs, embed_feed, embed_growth, embed_peers, embed_start, model_rate
from bench.machine import describe, peak_memory_mb
from embed.batches import IN_FLIGHT
from embed.decoders import Decoding, Memory, Processes, Settings, Threads
from embed.demo.scenes import write_scenes
from embed.encoders import Towers, load_towers, parse_encoder
from embed.geometry import Geometry
from embed.patience import Reads
from embed.request import JobOptions, Summary
from embed.sources import open_source
from store.s3 import S3Options
from tests.servers.rclone_server import rclone_server

if TYPE_CHECKING:
    from embed.encoders.flight import Pending

BUCKET = "bench-photos"
FAR_OBJECTS = 2000
"""So many lie in a far bucket, photos under several names where they are fewer: starting is over in a job like that."""

SOURCE = f"s3://{BUCKET}/photos/"
CORES = os.cpu_count() or 1


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--photos", type=Path)
    words.add_argument("--encoder")
    words.add_argument("--random-weights", action="store_true")
    words.add_argument("--batch-size", type=int, default=64)
    words.add_argument("--compile", action="store_true")
    words.add_argument("--local", action="store_true", help="the job reads the folder, and not S3")
    words.add_argument("--limit", type=int, default=1_000_000)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--decoders", type=int)
    words.add_argument("--device", default="auto")
    words.add_argument("--latency", type=float, metavar="MILLISECONDS")
    words.add_argument("--clip-retrieval", metavar="PYTHON")
    words.add_argument("--start", action="store_true")
    words.add_argument("--growth", type=int, metavar="IMAGES")
    words.add_argument("--feed", type=int, metavar="IMAGES", nargs="?", const=5000)
    words.add_argument("--bombs", type=int, metavar="FILES")
    given, _ = words.parse_known_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as scratch:
        folder = Path(scratch)
        if given.growth:
            embed_growth.run(given.growth, folder)
            return
        if given.feed:
            embed_feed.run(given.feed, given.rounds, folder)
            return
        if given.bombs:
            embed_bombs.run(given.bombs, folder)
            return
        if given.start:
            embed_start.run(_photos(given.photos or _drawn(folder / "drawn", 1), 1)[0], folder)
            return
        photos = _photos(given.photos or _drawn(folder / "drawn"), given.limit)
        if given.latency:
            with _bucket_of(photos, given.latency):
                embed_peers.plain_loop(BUCKET, SOURCE, folder, given.rounds)
            return
        encoder, random = given.encoder or "ViT-B-32", given.random_weights or given.encoder is None
        towers = load_towers(parse_encoder(encoder, random_weights=random), device=given.device)
        print(f"encoder                 {towers.encoder.encoder_id} on {towers.device}, {towers.encoder.precision}")
        if given.compile:
            towers.image.compile(given.batch_size)
        options = JobOptions(decoders=given.decoders, batch_size=given.batch_size, compile=given.compile)
        source = str(_copied(photos, folder / "album")) if given.local else SOURCE
        if given.rounds:
            with _bucket_of(photos, None):
                alone = _rounds(
                    given.rounds,
                    partial(_alone, photos, towers, given.batch_size),
                    lambda store: clipsieve.embed(
                        source, store, encoder=encoder, random_weights=random, device=given.device, options=options
                    ),
                    folder,
                )
            print(model_rate.line(towers, alone.model))
        if given.clip_retrieval:
            embed_peers.clip_retrieval(given.clip_retrieval, photos, towers, folder)
    print(f"peak memory             {peak_memory_mb():8,.0f} MB, baselines included, decoders not")


@dataclass(frozen=True)
class Alone:
    """Seconds that an image takes at each stage that runs alone."""

    model: float
    processes: float
    threads: float
    fetching: float
    on_cpu: bool

    @property
    def floor(self) -> float:
        """Seconds that an image takes at least."""
        stages = (self.model, min(self.processes, self.threads), self.fetching)
        return sum(stages) if self.on_cpu else max(stages)

    def line(self) -> str:
        """Return the rates as one line."""
        rates = (self.model, self.processes, self.threads, self.fetching, self.floor)
        return "".join(f"{1 / seconds:11,.1f}" for seconds in rates)


def _rounds(rounds: int, alone: Callable[[], Alone], job: Callable[[str], Summary], folder: Path) -> Alone:
    """Print what each stage does alone and what the job does, in images/s, and the median of their ratios.

    Return what the stages did last.
    """
    stages = ("model", "processes", "threads", "fetching", "floor")
    print(f"{'images/s':10}{''.join(f'{name:>11}' for name in stages)}{'job to disk':>21}{'job to S3':>21}")
    shares: dict[str, list[float]] = {"disk": [], "S3": []}
    for k in range(rounds):
        stage = alone()
        line = f"round {k + 1:<4}{stage.line()}"
        for kind, store in (("disk", folder / f"store-{k}"), ("S3", f"s3://{BUCKET}-store/store-{k}")):
            summary = job(str(store))
            rate = embed_peers.rate(summary)
            shares[kind].append(rate * stage.floor)
            line += f"{rate:10,.1f} = {shares[kind][-1]:.2f} of it"
        print(line, flush=True)
    print(f"busy in the last job    {embed_peers.busy(summary)}")
    for kind, found in shares.items():
        print(f"job to {kind:17}{statistics.median(found):8.2f} of the floor, the median of {rounds} rounds")
    return stage


def _alone(photos: list[Path], towers: Towers, size: int) -> Alone:
    """Measure each stage by itself; decoding is that of the job: decode, hash, shrink, thumbnail."""
    settings = Settings(towers.image.geometry or Geometry(*towers.image.input_shape[1:]))
    contents = [photo.read_bytes() for photo in photos[:400]]
    return Alone(
        _model_alone(towers, size),
        _decoding_alone(contents, Processes(CORES, settings, Memory(1 << 30))),
        _decoding_alone(contents, Threads(CORES, settings, Memory(1 << 30))),
        _fetching_alone(),
        towers.device.startswith("cpu"),
    )


def _model_alone(towers: Towers, size: int) -> float:
    """Measure the model on ready batches, as many of them at the device at once as in a job."""
    batch = np.random.default_rng(0).integers(0, 256, (size, *towers.image.input_shape), dtype=np.uint8)
    towers.image.encode(batch)
    batches = 2 if towers.device.startswith("cpu") else 100
    flying: deque[Pending] = deque()
    began = time.perf_counter()
    for _ in range(batches):
        flying.append(towers.image.submit(batch))
        if len(flying) == IN_FLIGHT:
            flying.popleft().result()
    while flying:
        flying.popleft().result()
    return (time.perf_counter() - began) / (batches * len(batch))


def _decoding_alone(contents: list[bytes], decoding: Decoding) -> float:
    def one(content: bytes) -> None:
        with decoding.place() as place:
            decoding.make(content, place)

    with ThreadPoolExecutor(2 * CORES) as pool:
        list(pool.map(one, contents[: 4 * CORES]))  # started and warm
        began = time.perf_counter()
        list(pool.map(one, contents))
    decoding.close()
    return (time.perf_counter() - began) / len(contents)


def _fetching_alone() -> float:
    source = open_source(SOURCE, S3Options())
    objects = [one for page in source.pages() for one in page]
    reads = Reads(source)
    with ThreadPoolExecutor(source.readers) as pool:
        began = time.perf_counter()
        list(pool.map(reads.fetch, objects))
    return (time.perf_counter() - began) / len(objects)


def _photos(folder: Path, limit: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not found:
        sys.exit(f"There are no photos below {folder}.")
    return found[:: max(1, len(found) // limit)][:limit]


def _copied(photos: list[Path], folder: Path) -> Path:
    folder.mkdir()
    for number, photo in enumerate(photos):
        shutil.copy(photo, folder / f"{number:06d}-{photo.name}")
    return folder


def _drawn(folder: Path, count: int = 600) -> Path:
    for drawn in write_scenes(count, seed=2, broken=0):
        place = folder / drawn.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(drawn.data)
    return folder


@contextmanager
def _bucket_of(photos: list[Path], latency_ms: float | None) -> Iterator[None]:
    """Serve S3 in a process of its own, with the photos in a bucket, and point boto3's environment at it."""
    with rclone_server() as server:
        os.environ.update(server.environment())
        client = S3Options().client()
        for name in (BUCKET, f"{BUCKET}-store"):
            client.create_bucket(Bucket=name)
        copies = 1 if latency_ms is None else -(-FAR_OBJECTS // len(photos))
        for i, photo in enumerate(photos * copies):
            client.put_object(Bucket=BUCKET, Key=f"photos/{i:06d}-{photo.name}", Body=photo.read_bytes())
        size = sum(photo.stat().st_size for photo in photos)
        print(f"photos                  {len(photos):8,} of {size / len(photos):,.0f} bytes on average, {copies} times")
        if latency_ms is None:
            yield
            return
        port = server.endpoint_url.rpartition(":")[2]
        command = [sys.executable, "-m", "bench.latency", port, str(latency_ms)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as wire:
            assert wire.stdout is not None  # noqa: S101  # it is a pipe
            os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{wire.stdout.readline().strip()}"
            try:
                yield
            finally:
                wire.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
