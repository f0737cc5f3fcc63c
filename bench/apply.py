"""Copies per second against the server's own limit, and the memory of a plan of a million images.

    python -m bench.apply [--objects N] [--images N] [--killed N]

The server is `rclone serve s3` on this machine, which shares its cores with the client. The floor is taken in the same
run: a plain loop of `copy_object` over as many threads, without condition, journal, plan or verification. A plan is
made in a process of its own, whose peak memory is shown for a tenth of the images and for all of them. At last the test
of a job that is killed at ten moments, among changed objects and refused requests, runs with so many objects.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import clipsieve
from bench.machine import describe, peak_memory_mb
from query.deliver.apply.copies import ApplyOptions
from store.s3 import S3Options
from tests.runs import row_of, write_run
from tests.servers.rclone_server import rclone_server

BUCKET = "bench-apply"
WORKERS = 32
_BLOCK_ROWS = 100_000


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--objects", type=int, default=2000, help="to copy")
    words.add_argument("--images", type=int, default=1_000_000, help="to plan")
    words.add_argument("--killed", type=int, default=5000, help="objects of the job that is killed; 0 leaves it out")
    words.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    given, _ = words.parse_known_args()
    if given.plan:
        _plan(given.plan)
        return
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as name, rclone_server() as server:
        os.environ.update(server.environment())
        server.client().create_bucket(Bucket=BUCKET)
        _copies(Path(name), given.objects)
        for images in (given.images // 10, given.images):
            _planned(Path(name, f"run-{images}"), images)
    if given.killed:
        _killed(given.killed)


def _killed(objects: int) -> None:
    """Run the test with more objects than the suite does; it must hold."""
    start = time.perf_counter()
    test = "tests/test_apply.py::test_killed_at_random_moments"
    words = [sys.executable, "-m", "pytest", "-q", "--timeout", "1800", test]
    subprocess.run(words, check=True, env={**os.environ, "CLIPSIEVE_KILLED_OBJECTS": f"{objects}"})
    print(f"killed ten times over {objects:,} objects, then undone: {time.perf_counter() - start:.0f} s")


def _copies(folder: Path, objects: int) -> None:
    client = S3Options().client()
    rows = [row_of(BUCKET, f"in/{k:06}.jpg", b"%06d" % k * 2000) for k in range(objects)]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(
            pool.map(
                lambda k: client.put_object(Bucket=BUCKET, Key=f"in/{k:06}.jpg", Body=b"%06d" % k * 2000),
                range(objects),
            )
        )

        def copy(row: dict[str, str]) -> None:
            source = {"Bucket": BUCKET, "Key": row["key"]}
            client.copy_object(Bucket=BUCKET, Key=f"floor/{row['key']}", CopySource=source)

        start = time.perf_counter()
        list(pool.map(copy, rows))
        floor = objects / (time.perf_counter() - start)
    print(f"plain copy_object       {floor:8,.0f} copies/s with {WORKERS} threads, the floor")
    for label, trusted in (("conditions trusted", True), ("asked first", False)):
        run = write_run(folder / label, [f"s3://{BUCKET}/in/"], kept=rows)
        options = ApplyOptions(workers=WORKERS, honours_conditions=trusted)
        with clipsieve.open_run(str(run)).copies(f"s3://{BUCKET}/{label}/", options) as job:
            job.plan()
            start = time.perf_counter()
            after = job.carry_out()
            rate = objects / (time.perf_counter() - start)
        assert after.is_clean  # noqa: S101  # a figure of something that went wrong is none
        share = f"{rate / floor:.2f} of the floor"
        print(f"apply, {label:<18}{rate:7,.0f} copies/s, {share}, journal and verification included")


def _planned(run: Path, images: int) -> None:
    """Plan a run of so many images in a process of its own."""
    write_run(run, [f"s3://{BUCKET}/in/"])
    schema = pa.schema({"uri": pa.string(), "bucket": pa.string(), "key": pa.string(), "etag": pa.string()})
    schema = schema.append(pa.field("size_bytes", pa.int64())).append(pa.field("sha256", pa.string()))
    with pq.ParquetWriter(run / "kept.parquet", schema) as writer:
        for start in range(0, images, _BLOCK_ROWS):
            numbers = range(start, min(start + _BLOCK_ROWS, images))
            keys = [f"in/shard-{k // 1000:05}/{k:09}.jpg" for k in numbers]
            hashes = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
            uris = [f"s3://{BUCKET}/{key}" for key in keys]
            columns = [uris, [BUCKET] * len(keys), keys, [h[:32] for h in hashes], [100_000] * len(keys), hashes]
            writer.write_table(pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema))
    metadata = json.loads((run / "run_metadata.json").read_text())
    metadata["files"]["kept.parquet"] = hashlib.sha256((run / "kept.parquet").read_bytes()).hexdigest()
    (run / "run_metadata.json").write_text(json.dumps(metadata))
    done = subprocess.run(
        [sys.executable, "-m", "bench.apply", "--plan", str(run)], check=True, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="")


def _plan(run: Path) -> None:
    start = time.perf_counter()
    with clipsieve.open_run(str(run)).copies(f"s3://{BUCKET}/planned/") as job:
        plan = job.plan()
    seconds = time.perf_counter() - start
    images = f"{plan.to_do.objects:,}"
    print(f"plan of {images:>9} images {seconds:5.1f} s, peak memory {peak_memory_mb():,.0f} MB")


if __name__ == "__main__":
    main()
