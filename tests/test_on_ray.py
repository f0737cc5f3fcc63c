"""The same job as Ray Data leaves the same rows, also where an actor is killed in the middle of it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import clipsieve
from embed import patience as patience_module
from embed.on_ray import run as run_module
from embed.on_ray.cluster import ray_module
from embed.request import EmbedRequest, Started
from embed.sources import folder as folder_module
from store.errors import MissingExtra, SourceError
from tests import buckets
from tests.embedding import all_rows, embed, outcomes, retry_at_once, shelf
from tests.pictures import picture_bytes
from tests.servers.moto_server import Answer, MotoServer

ray = pytest.importorskip("ray", reason="these tests run on Ray, which needs the ray extra")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # Ray starts in ten seconds, and each actor loads torch


@pytest.fixture(scope="module")
def cluster(moto_s3: MotoServer) -> Iterator[Any]:
    """Two nodes of Ray on this machine, once for all; actors find this project and the S3 server as this process does.

    Each node is a raylet with workers and an object store of its own, as on a machine of its own.
    """
    from ray.cluster_utils import Cluster

    root = str(Path(__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("PYTHONPATH", os.pathsep.join([root, *([before] if before else [])]))
        for name, value in moto_s3.environment().items():
            patched.setenv(name, value)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
        nodes.add_node(num_cpus=2)
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


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


@pytest.mark.usefixtures("cluster")
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


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("default")  # as above
@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_outage_while_listing(
    s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing waits for the service as that of a local job does, and beyond --patience the job ends."""
    retry_at_once(monkeypatch)
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)
    buckets.put(bucket, "a.jpg", picture_bytes(1))
    asked: list[str] = []

    def away(method: str, path: str) -> Answer:
        if method != "GET" or path.rstrip("/") != f"/{bucket}":
            return None
        asked.append(path)
        return (503, "SlowDown") if 1 < len(asked) <= limit else None  # the first one is the preflight's

    s3.faults.append(away)
    limit = 10**9
    with pytest.raises(SourceError, match="Cannot list"):
        embed(f"s3://{bucket}/", tmp_path, tiny_encoder, engine="ray", patience_s=0.05)
    asked.clear()
    limit = 20
    assert embed(f"s3://{bucket}/", tmp_path, tiny_encoder, engine="ray").embedded == 1
    assert len(asked) > limit


@pytest.mark.filterwarnings("default")  # as above
def test_a_node_that_goes(
    cluster: Any,  # noqa: ANN401  # Ray's own
    album: Path,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine that has taken part and is gone in the middle costs nothing: the rows are those of one machine."""
    worked, gone = list[int](), threading.Event()
    whole = run_module._Flow._count

    def lose_node(self: run_module._Flow, done: pa.Table) -> None:
        whole(self, done)
        if not gone.is_set():
            gone.set()
            (raylet,) = node.all_processes["raylet"]
            worked.extend(workers_of(raylet.process.pid))
            cluster.remove_node(node, allow_graceful=False)

    node = cluster.add_node(num_cpus=8)  # where most of the work goes
    monkeypatch.setattr(run_module._Flow, "_count", lose_node)
    summary = embed(album, tmp_path / "store", tiny_encoder, engine="ray", part_rows=8)
    assert worked, "the node had workers"
    assert summary.listed == 42
    embed(album, tmp_path / "one", tiny_encoder)
    assert outcomes(tmp_path / "store") == outcomes(tmp_path / "one")
    mine = {row["uri"]: row for row in all_rows(tmp_path / "store")}
    assert list(mine.values()) == all_rows(tmp_path / "one")


def workers_of(raylet: int) -> list[int]:
    """The processes of a raylet that have a task or an actor, which Ray names after it."""
    found = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found}
    return [pid for pid, name in names.items() if name.startswith(b"ray::") and not name.startswith(b"ray::IDLE")]


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("default")  # as above
def test_stop_while_listing(album: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    """Asked to stop while it lists, a job ends well, with nothing said about what it has not seen."""

    def stop(_: Started) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder_module, "PAGE_OBJECTS", 10)
        words = (str(album), str(tmp_path / "store"), f"local-dir:{tiny_encoder}")
        summary = clipsieve.run_embed(EmbedRequest(*words, device="cpu", engine="ray"), stop)
    assert (summary.stopped, summary.listed, summary.embedded) == (True, 10, 0)
    assert shelf(tmp_path / "store").parts("listings") == []


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ray one sentence says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'clipsieve\[embed,ray\]'"):
        ray_module()
