"""The whole road on an S3 server: photos in a bucket -> embed with the full ViT-B-32 -> score -> sweep -> export.

    python -m bench.pass_one --photos FOLDER [--encoder MODEL/PRETRAINED] [--limit N]

The baseline is taken in the same run: the model alone on ready batches, and decoding alone on one core. Since both
share the same cores on a CPU, the floor of the job is the sum of their times; the job's rate is a share of it.
Without `--photos`, 300 scenes are drawn. Without `--encoder`, the weights are random: the work is the same.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import clipsieve
from bench.machine import describe, peak_memory_mb
from embed.decode import Refused, decode
from embed.demo.scenes import write_scenes
from embed.encoders import Towers, load_towers, parse_encoder
from embed.thumbnails import thumbnail
from store.s3 import S3Options

BUCKET = "bench-photos"
LAST_EXPORT = "AWS_SHARED_CREDENTIALS_FILE"


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--photos", type=Path)
    words.add_argument("--encoder")
    words.add_argument("--limit", type=int, default=1_000_000)
    given, _ = words.parse_known_args()
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as scratch, _s3_server():
        folder = Path(scratch)
        photos = _photos(given.photos or _drawn(folder / "drawn"), given.limit)
        _upload(photos)
        floor = _floor(photos, given.encoder)
        for store in (str(folder / "store"), f"s3://{BUCKET}-store/store"):
            _whole_job(store, given.encoder, floor)
        _questions(str(folder / "store"), folder)
    print(f"peak memory             {peak_memory_mb():8,.0f} MB, baseline included")


def _floor(photos: list[Path], encoder: str | None) -> float:
    """Return the seconds per image of model and decoding alone, added up over the cores."""
    towers = load_towers(parse_encoder(encoder or "ViT-B-32", random_weights=encoder is None))
    print(f"encoder                 {towers.encoder.encoder_id} on {towers.device}, {towers.encoder.precision}")
    model = _model_alone(towers)
    decoding = _decoding_alone(photos[:200], towers) / (os.cpu_count() or 1)
    print(f"model alone             {1 / model:8,.1f} images/s")
    print(f"decode, shrink, thumb   {1 / decoding:8,.1f} images/s on all cores (one core's rate times the cores)")
    print(f"floor: both, one CPU    {1 / (model + decoding):8,.1f} images/s")
    return model + decoding


def _model_alone(towers: Towers) -> float:
    batch = np.random.default_rng(0).integers(0, 256, (64, *towers.image.input_shape), dtype=np.uint8)
    towers.image.encode(batch)
    began = time.perf_counter()
    for _ in range(3):
        towers.image.encode(batch)
    return (time.perf_counter() - began) / (3 * len(batch))


def _decoding_alone(photos: list[Path], towers: Towers) -> float:
    contents = [photo.read_bytes() for photo in photos]
    began = time.perf_counter()
    for content in contents:
        try:
            image = decode(content).image
        except Refused:
            continue
        towers.image.prepare(image)
        thumbnail(image)
    return (time.perf_counter() - began) / len(contents)


def _whole_job(store: str, encoder: str | None, floor_s: float) -> None:
    summary = clipsieve.embed(
        f"s3://{BUCKET}/photos/", store=store, encoder=encoder or "ViT-B-32", random_weights=encoder is None
    )
    # Loading the model and encoding prompts happens once per job, whatever its size.
    seconds = summary.seconds - summary.stage_seconds.get("prompts", 0.0)
    rate = summary.embedded / seconds
    kind = "S3" if store.startswith("s3:") else "disk"
    print(f"whole job, S3 to {kind:5}  {rate:8,.1f} images/s = {rate * floor_s:.2f} of the floor")
    stages = ", ".join(f"{name} {spent:.1f} s" for name, spent in sorted(summary.stage_seconds.items()))
    print(f"  {summary.embedded} images, {summary.seconds:.1f} s; by stage, summed over threads: {stages}")


def _questions(store: str, folder: Path) -> None:
    opened = clipsieve.open(store)
    images = opened.sql("select count(*) from images")[0][0].as_py()
    size = sum(opened.status().size_bytes.values())
    print(f"store                   {size / images:8,.0f} bytes per image, thumbnails included")
    for name, ask in (
        ("score, 3 concepts", opened.score),
        ("sweep, 101 thresholds", lambda: opened.sweep("people")),
        ("export, 2 rules", lambda: opened.export(str(folder / "run"), remove=["people >= 0.5", "sunglasses >= 0.7"])),
    ):
        began = time.perf_counter()
        ask()
        print(f"{name:24}{(time.perf_counter() - began) * 1000:8,.0f} ms for {images:,} images")


def _photos(folder: Path, limit: int) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not found:
        sys.exit(f"There are no photos below {folder}.")
    return found[:: max(1, len(found) // limit)][:limit]


def _drawn(folder: Path, count: int = 300) -> Path:
    for drawn in write_scenes(count, seed=2, broken=0):
        place = folder / drawn.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(drawn.data)
    return folder


def _upload(photos: list[Path]) -> None:
    client = S3Options().client()
    for name in (BUCKET, f"{BUCKET}-store"):
        client.create_bucket(Bucket=name)
    for i, photo in enumerate(photos):
        client.upload_file(str(photo), BUCKET, f"photos/{i:06d}-{photo.name}")
    size = sum(photo.stat().st_size for photo in photos)
    print(f"photos                  {len(photos):8,} of {size / len(photos):,.0f} bytes on average")


@contextmanager
def _s3_server() -> Iterator[None]:
    """Run an S3 server in a process of its own and point boto3's environment at it."""
    command = [sys.executable, "-m", "tests.servers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as server:
        try:
            for line in server.stdout or ():
                name, _, value = line.removeprefix("export ").strip().partition("=")
                os.environ[name] = value.strip("'\"")
                if name == LAST_EXPORT:
                    break
            yield
        finally:
            server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
