"""Stopped at any moment, a job has done what is in its parts, and the next one does the rest."""

import contextlib
import os
import random
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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

FILES = range(6)
"""How many files more there are when a job is killed: none, those of a part in any state, and those of the next."""


def _embed_in_small_parts(source: Path, store: Path, encoder: Path) -> None:
    tempfile.tempdir = str(store.parent)  # what a killed process leaves there goes with the test
    embed(source, store, encoder, part_rows=1, decoders=1)


def _files(folder: Path) -> int:
    """Count files, also those that are still being written."""
    return sum(len(names) for _, _, names in os.walk(folder))


@pytest.mark.parametrize("seed", [1])
@pytest.mark.timeout(300)
def test_killed_six_times(
    photos: Path, tiny_encoder: Path, tmp_path: Path, processes: ForkServerContext, seed: int
) -> None:
    """Killed at six moments of its writing, and run again each time, a job ends with the rows of an undisturbed one."""
    dice = random.Random(seed)
    place, undisturbed = tmp_path / "store", tmp_path / "undisturbed"
    kills = 0
    for more in dice.sample(FILES, len(FILES)):
        job = processes.Process(target=_embed_in_small_parts, args=(photos, place, tiny_encoder))
        job.start()
        goal = _files(place) + more
        while _files(place) < goal and job.exitcode is None:
            job.join(0.001)
        job.kill()
        job.join()
        if job.exitcode == 0:
            break
        assert job.exitcode == -signal.SIGKILL
        kills += 1
        job.close()
    assert kills == len(FILES), "the job was over before it was killed often enough"
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


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    exit_code: int | None
    stdout: str
    stderr: str


@pytest.fixture
def signalled(
    album: str, gate: threading.Event, tiny_encoder: Path, tmp_path: Path, processes: ForkServerContext
) -> Callable[[signal.Signals], Ended]:
    """Embed the album into `store`, send this signal once a part is written, and wait for the end."""

    def run(number: signal.Signals) -> Ended:
        said = [tmp_path / name for name in ("stdout", "stderr")]
        words = _words(album, tmp_path / "store", tiny_encoder)
        job = processes.Process(target=_run_command, args=(words, dict(os.environ), *said))
        job.start()
        while not _has_parts(tmp_path / "store") and job.exitcode is None:
            job.join(0.01)
        assert job.exitcode is None
        assert job.pid
        os.kill(job.pid, number)
        gate.set()
        job.join()
        return Ended(job.exitcode, *(path.read_text(encoding="utf-8") for path in said))

    return run


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_asked_to_stop(
    album: str, signalled: Callable[[signal.Signals], Ended], tiny_encoder: Path, tmp_path: Path
) -> None:
    """On SIGTERM a job finishes the part in hand, says so and ends with code 3; the next one goes on from there."""
    job, place = signalled(signal.SIGTERM), tmp_path / "store"
    assert job.exit_code == 3, job.stderr
    assert "Stopped as asked; what is done is kept, and the same command goes on from here." in job.stdout
    done = len(all_rows(place))
    assert 3 <= done < 20
    assert job.stdout.startswith(f"Embedded {done} images in ")
    assert len(job.stderr.splitlines()) == 1  # the encoder
    assert embed(album, place, tiny_encoder).already_done == done
    assert list(outcomes(place).values()) == ["embedded"] * 20


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_interrupted(signalled: Callable[[signal.Signals], Ended], tmp_path: Path) -> None:
    """Ctrl-C is as good as SIGTERM."""
    job = signalled(signal.SIGINT)
    assert job.exit_code == 3, job.stderr
    assert 3 <= len(all_rows(tmp_path / "store")) < 20


def _run_command(words: list[str], environment: dict[str, str], stdout: Path, stderr: Path) -> None:
    os.environ.update(environment)
    with (
        stdout.open("w", encoding="utf-8") as said,
        stderr.open("w", encoding="utf-8") as complained,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
    ):
        clipsieve.main(words)
