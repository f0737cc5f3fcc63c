"""The same job as Ray Data leaves the same rows, also where an actor is killed in the middle of it."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from embed.on_ray import run as run_module
from store.errors import MissingExtra
from tests.embedding import all_rows, embed, outcomes
from tests.pictures import picture_bytes

ray = pytest.importorskip("ray", reason="these tests run on Ray, which needs the ray extra")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # Ray starts in ten seconds, and each actor loads torch


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    """Ray on this machine, once for all."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    root = str(Path(__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *([before] if before else [])])
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Forty pictures, a note and a damaged file."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.jpg").write_bytes(picture_bytes(number % 30))
    (folder / "note.txt").write_text("no picture")
    (folder / "short.jpg").write_bytes(picture_bytes(0)[:100])
    return folder


@pytest.mark.usefixtures("_cluster")
@pytest.mark.filterwarnings("default")  # Ray's own are none of ours
def test_same_rows_and_killed_actor(
    album: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of 8 rows; the actor that holds the model is killed after the first; the views show what one job shows."""
    killed = threading.Event()
    whole = run_module._Flow._count

    def kill_once(self: run_module._Flow, done: pa.Table) -> None:
        whole(self, done)
        if not killed.is_set():
            killed.set()
            os.kill(int(done["actor"].to_pylist()[0].rpartition(":")[2]), signal.SIGKILL)

    monkeypatch.setattr(run_module._Flow, "_count", kill_once)
    summary = embed(album, tmp_path / "store", tiny_encoder, engine="ray", part_rows=8)
    assert killed.is_set()
    assert summary.listed == 42
    embed(album, tmp_path / "one", tiny_encoder)
    assert outcomes(tmp_path / "store") == outcomes(tmp_path / "one")
    mine = {row["uri"]: row for row in all_rows(tmp_path / "store")}
    assert list(mine.values()) == all_rows(tmp_path / "one")
    again = embed(album, tmp_path / "store", tiny_encoder, engine="ray")
    assert (again.already_done, again.embedded) == (42, 0)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray one sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'clipsieve\[embed,ray\]'"):
        run_module._ray()
