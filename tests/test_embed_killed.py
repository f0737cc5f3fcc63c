"""Stopped at any moment, a job has done what is in its parts, and the next one does the rest."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

import clipsieve
from store.verify import verify
from tests.embedding import all_rows, embed, outcomes, shelf
from tests.pictures import OUTCOMES, picture_bytes
from tests.servers.moto_server import MotoServer
from tests.stores import files_of

pytestmark = pytest.mark.slow

KILLS = 10


def _embed_in_small_parts(source: Path, store: Path, encoder: Path) -> None:
    tempfile.tempdir = str(store.parent)  # what a killed process leaves there goes with the test
    embed(source, store, encoder, part_rows=1)


def _files(folder: Path) -> int:
    """Count files, also those that are still being written."""
    return sum(len(names) for _, _, names in os.walk(folder))


@pytest.mark.parametrize("seed", [1])
@pytest.mark.timeout(300)
def test_killed_ten_times(
    photos: Path, tiny_encoder: Path, tmp_path: Path, processes: ForkServerContext, seed: int
) -> None:
    """Killed at ten random moments and restarted each time, a job ends with the very rows of an undisturbed one."""
    dice = random.Random(seed)
    place, undisturbed = tmp_path / "store", tmp_path / "undisturbed"
    kills = 0
    while kills < KILLS:
        job = processes.Process(target=_embed_in_small_parts, args=(photos, place, tiny_encoder))
        job.start()
        goal = _files(place) + dice.randrange(6)
        while _files(place) < goal and job.exitcode is None:
            job.join(0.001)
        job.kill()
        job.join()
        if job.exitcode == 0:
            break
        assert job.exitcode == -signal.SIGKILL
        kills += 1
        job.close()
    assert kills == KILLS, "the job was over before it was killed often enough"
    last = embed(photos, place, tiny_encoder, part_rows=1)
    assert last.pending == 0
    assert 0 < last.already_done < last.listed
    embed(photos, undisturbed, tiny_encoder)
    assert all_rows(place) == all_rows(undisturbed)
    assert outcomes(place) == OUTCOMES
    assert verify(shelf(place)).sound
    before = files_of(place)
    assert embed(photos, place, tiny_encoder).embedded == 0
    assert files_of(place) == before


@pytest.fixture
def gate(moto_s3: MotoServer) -> Iterator[threading.Event]:
    """While the event is not set, the server answers only the first eight reads of objects, the preflight's too."""
    opened = threading.Event()
    passed: list[str] = []
    lock = threading.Lock()

    def wait(method: str, path: str) -> None:
        if method == "GET" and path.endswith(".jpg"):
            with lock:
                passed.append(path)
                first = len(passed) <= 8
            if not first:
                opened.wait(60)

    moto_s3.faults.append(wait)
    yield opened
    opened.set()


@pytest.fixture
def album(s3: MotoServer, bucket: str) -> str:
    """A bucket of twenty pictures."""
    for k in range(20):
        s3.client().put_object(Bucket=bucket, Key=f"{k:02}.jpg", Body=picture_bytes(k))
    return f"s3://{bucket}"


def _words(source: str, place: Path, encoder: Path) -> list[str]:
    where = ["--store", str(place), "--encoder", f"local-dir:{encoder}", "--device", "cpu", "--precision", "fp32"]
    return ["embed", source, *where, "--batch-size", "1", "--part-rows", "3"]


def _has_parts(place: Path) -> bool:
    return any(place.glob("encoder=*/images/*.parquet"))


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_asked_to_stop(album: str, gate: threading.Event, tiny_encoder: Path, tmp_path: Path) -> None:
    """On SIGTERM a job finishes the part in hand, says so and ends with code 3; the next one goes on from there."""
    command = [sys.executable, "-m", "clipsieve", *_words(album, tmp_path, tiny_encoder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        while not _has_parts(tmp_path):
            with pytest.raises(subprocess.TimeoutExpired):  # it is still running
                job.wait(0.01)
        job.terminate()
        gate.set()
        said, complained = job.communicate(timeout=60)
    assert job.returncode == 3, complained
    assert "Stopped as asked; what is done is kept, and the same command goes on from here." in said
    done = len(all_rows(tmp_path))
    assert 3 <= done < 20
    assert said.startswith(f"Embedded {done} images in ")
    assert len(complained.splitlines()) == 1  # the encoder
    assert embed(album, tmp_path, tiny_encoder).already_done == done
    assert list(outcomes(tmp_path).values()) == ["embedded"] * 20


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_interrupted(
    album: str, gate: threading.Event, tiny_encoder: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    """Ctrl-C is as good as SIGTERM."""
    job = processes.Process(target=_run_command, args=(_words(album, tmp_path, tiny_encoder), dict(os.environ)))
    job.start()
    while not _has_parts(tmp_path) and job.exitcode is None:
        job.join(0.01)
    assert job.pid
    os.kill(job.pid, signal.SIGINT)
    gate.set()
    job.join()
    assert job.exitcode == 3
    assert 3 <= len(all_rows(tmp_path)) < 20


def _run_command(words: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        clipsieve.main(words)
