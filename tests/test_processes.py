"""Shares of the work cover everything exactly once, by hand, by itself on one machine, and side by side."""

import os
import queue
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed import start as start_module
from embed.cli import _advise, _show
from embed.encoders.device import visible_gpu_bytes
from embed.encoders.torchvision_shim import import_torch
from embed.processes import supervisor
from embed.processes.count import processes_for
from embed.processes.family import Child, Family, raised
from embed.request import MEMORY_BYTES, EmbedRequest, JobOptions, Started, Summary, start_silently
from embed.sources.folder import FolderSource
from store.errors import ClipsieveError, SourceError, UsageError
from store.shards import Shard
from tests.embedding import all_rows, embed, embed_command, outcomes, shelf
from tests.forked import Forked, forking
from tests.pictures import picture_bytes
from tests.stores import listed

pytestmark = pytest.mark.usefixtures("_path")


@pytest.fixture
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes start on one core's worth of threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twelve pictures and a note."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.jpg").write_bytes(picture_bytes(number))
    (folder / "note.txt").write_text("no picture")
    return folder


@given(count=st.integers(1, 9), keys=st.sets(st.integers(0, 999), max_size=40))
def test_shares_cover_everything_once(count: int, keys: set[int]) -> None:
    """Every image is of exactly one share, and numbers say the same as objects."""
    objects = [listed(f"in/{key}") for key in keys]
    shares = [Shard(number, count) for number in range(1, count + 1)]
    taken = [one for share in shares for one in share.of(objects)]
    assert sorted(one.uri for one in taken) == sorted(one.uri for one in objects)
    halves = np.array([one.image_id.int >> 64 for one in objects], np.uint64)
    for share in shares:
        assert [one for one, is_mine in zip(objects, share.holds(halves), strict=True) if is_mine] == share.of(objects)


@pytest.mark.parametrize("words", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2"])
def test_words_that_are_no_share(words: str) -> None:
    """A share that does not exist is refused: what it stands for would never be embedded."""
    with pytest.raises(UsageError, match="is no share of the work"):
        Shard.parse(words)


def test_shares_by_hand(album: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    """Three jobs with a share each leave what one job leaves; the listing is whole after the first of them."""
    place = tmp_path / "store"
    (objects,) = FolderSource(album).pages()
    shares = {number: Shard(number, 3).of(objects) for number in (2, 1, 3)}
    for number, mine in shares.items():
        result = embed_command(album, place, tiny_encoder, "--shard", f"{number}/3", "--batch-size", "1")
        # By chance of the folder's name a share may be empty.
        said = f"Listed {len(mine)} objects, 0 of them" if mine else f"no object of {album.as_uri()}/ is in this share."
        assert said in result.stdout
        assert len(outcomes(place)) == 13
        assert len(shelf(place).parts("listings")) == 1
    embed(album, tmp_path / "one", tiny_encoder)
    assert all_rows(place) == all_rows(tmp_path / "one")
    again = embed_command(album, place, tiny_encoder, "--shard", "2/3")
    assert again.stdout.startswith("Nothing to do: ")


def test_a_share_without_objects(album: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    """A share that holds none of the objects has nothing to do, and does not say that all are in the store."""
    (objects,) = FolderSource(album).pages()
    number = next(number for number in range(1, 101) if not Shard(number, 100).of(objects))
    result = embed_command(album, tmp_path / "store", tiny_encoder, "--shard", f"{number}/100")
    assert result.exit_code == 0
    assert result.stdout == f"Nothing to do: no object of {album.as_uri()}/ is in this share.\n"


@pytest.mark.slow  # three processes that load torch
def test_processes_of_one_machine(album: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    """--processes 2 leaves what one process leaves, and its summary is the sum of both."""
    result = embed_command(album, tmp_path / "store", tiny_encoder, "--processes", "2", "--batch-size", "1")
    assert result.exit_code == 0, result.stderr
    assert "Embedded 12 images" in result.stdout
    assert "Listed 13 objects, 0 of them done before." in result.stdout
    assert "in 2 processes" in result.stderr
    assert re.search(
        r"^Busy: decode \d+%, encode \d+%, read \d+%, write \d+%; encode is the device", result.stdout, re.MULTILINE
    )
    embed(album, tmp_path / "one", tiny_encoder)
    assert all_rows(tmp_path / "store") == all_rows(tmp_path / "one")


@pytest.fixture
def started(processes: ForkServerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Forked]:
    """The processes of the supervisor, as it starts them, but with torch loaded already."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where a killed process may leave something
    started: list[Forked] = []
    popen = forking(processes, started)
    monkeypatch.setattr(supervisor, "subprocess", SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE))
    return started


def test_process_that_dies(album: Path, tmp_path: Path, tiny_encoder: Path, started: list[Forked]) -> None:
    """Where one process is killed the others finish, the error says whose share is left, and a second run ends it."""
    request = EmbedRequest(
        str(album), str(tmp_path / "store"), f"local-dir:{tiny_encoder}", device="cpu", precision="fp32"
    )

    def kill_one(_: Started) -> object:
        started[1].kill()
        return lambda: None

    with pytest.raises(ClipsieveError, match=r"process of share 2/2 ended without a word \(exit status -9\)"):
        supervisor.run_all(request, 2, (), kill_one)  # type: ignore[arg-type]
    assert set(outcomes(tmp_path / "store").values()) >= {"embedded"}
    embed(album, tmp_path / "store", tiny_encoder)
    assert sorted(outcomes(tmp_path / "store").values()) == ["embedded"] * 12 + ["not_an_image"]


def test_stop_reaches_every_process(album: Path, tmp_path: Path, tiny_encoder: Path, started: list[Forked]) -> None:
    """SIGTERM lets every process finish the part in hand, and nothing is half-written."""
    request = EmbedRequest(str(album), str(tmp_path / "store"), f"local-dir:{tiny_encoder}", device="cpu")

    def stop(_: Started) -> Callable[[], None]:
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda: None

    summary = supervisor.run_all(request, 2, (), stop)
    assert summary.stopped
    assert all(0 <= share <= 1 for share in summary.stage_busy.values())
    assert {process.returncode for process in started} <= {0, -signal.SIGTERM}
    assert summary.embedded + summary.not_images <= 13
    assert set(outcomes(tmp_path / "store").values()) <= {"embedded", "not_an_image", "pending"}


def told(seconds: dict[str, float], available: dict[str, float], **other: object) -> dict[str, object]:
    """What a process says of itself while it works."""
    return {"stage_seconds": seconds, "available": available, "listing_complete": True, **other}


def test_shares_of_several_processes() -> None:
    """A stage's share is the time of all processes over the time of all their places, and so is what limits them."""
    said: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    family = Family([Child(subprocess.Popen(["true"]), number) for number in (1, 2)], "file:///in/", start_silently)
    states = [
        told({"read": 30.0, "encode": 1.0}, {"read": 40.0, "encode": 10.0}, trouble="SlowDown for 3 s, waiting"),
        told({"read": 10.0, "encode": 29.0}, {"read": 120.0, "encode": 30.0}),
    ]
    for place, state in enumerate(states):
        said.put((place, {"state": state}))
        family.hear(said)
    assert family.limit == "the service (SlowDown for 3 s, waiting)"
    for place, state in enumerate(states):
        said.put((place, {"state": state, "summary": {**state, "stopped": False}}))
        family.hear(said)
    summary = family.outcome(stopped=False)
    assert summary.stage_seconds == {"read": 40.0, "encode": 30.0}
    assert summary.stage_busy == {"read": 0.25, "encode": 0.75}
    assert summary.limited_by == "encode"


def test_shares_before_anybody_works() -> None:
    """While every process still loads its model no stage has a share, and nothing limits."""
    family = Family([Child(subprocess.Popen(["true"]), 1)], "file:///in/", start_silently)
    assert (family.outcome(stopped=True).stage_busy, family.limit) == ({}, "")


@pytest.mark.parametrize(
    ("device", "gpus", "seen"),
    [
        ("auto", ["0"], ["0", "0", "0", "0"]),
        ("cuda", ["3", "5"], ["3", "5", "3", "5"]),
        ("cuda:1", ["0", "1"], [None] * 4),
        ("cpu", ["0"], [None] * 4),
        ("auto", [], [None] * 4),
    ],
)
def test_processes_share_gpus(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: list[str], seen: list[str | None]
) -> None:
    """More processes than GPUs take them in turn, one GPU serves all of them, and a device that was named is kept."""
    monkeypatch.setattr("embed.encoders.device.visible_gpus", lambda: gpus)
    assert [one.get("CUDA_VISIBLE_DEVICES") for one in supervisor._devices(device, 4)] == seen


def test_processes_share_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All processes together decode on each core once, unless the user says how many decoders each has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    request = EmbedRequest(str(tmp_path), str(tmp_path / "store"), "RN50", metrics="file")
    shares = [supervisor._share(request, Shard(number, 4)) for number in (1, 2, 3, 4)]
    assert [(one.options.decoders, one.processes, one.metrics) for one in shares] == [(4, 1, None)] * 4
    assert [one.options.shard for one in shares] == [Shard(number, 4) for number in (1, 2, 3, 4)]
    said = replace(request, options=JobOptions(decoders=0))
    assert supervisor._share(said, Shard(1, 4)).options.decoders == 0
    assert supervisor._share(request, Shard(1, 99)).options.decoders == 1


def test_processes_share_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child's torch.compile starts no more processes than it has cores, unless the user says how many."""
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS", raising=False)
    assert supervisor._environment(4)["TORCHINDUCTOR_COMPILE_THREADS"] == "4"
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "2")
    assert supervisor._environment(4)["TORCHINDUCTOR_COMPILE_THREADS"] == "2"


GB = 10**9


@pytest.mark.parametrize(
    ("cores", "gpus", "memory_bytes", "count"),
    [
        (16, [], None, 1),
        (16, [143 * GB], None, 4),
        (8, [25 * GB], None, 2),
        (3, [25 * GB], None, 1),
        (64, [25 * GB], None, 4),
        (64, [16 * GB], None, 2),
        (64, [4 * GB], None, 1),
        (64, [80 * GB] * 8, None, 16),
        (16, [80 * GB] * 8, None, 8),
        (64, [80 * GB, 8 * GB], None, 2),
        (64, [80 * GB, None], None, 2),
        (16, [143 * GB], 2 * GB, 2),
        (16, [143 * GB], GB // 2, 1),
        (64, [80 * GB] * 2, 6 * GB, 6),
    ],
)
def test_processes_by_themselves(cores: int, gpus: list[int | None], memory_bytes: int | None, count: int) -> None:
    """Each GPU has one process per 4 of its cores, up to four, as far as its memory and the job's allow; at least one.

    Where the memory of one cannot be told each has one, and where there is no GPU there is one.
    """
    assert processes_for(cores, gpus, memory_bytes) == count


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ({}, 4),
        ({"device": "cuda"}, 4),
        ({"device": "cuda:0"}, 1),
        ({"device": "cpu"}, 1),
        ({"processes": 1}, 1),
        ({"processes": 7}, 7),
        ({"options": JobOptions(shard=Shard(1, 2))}, 1),
        ({"options": JobOptions(memory_bytes=3 * GB)}, 3),
    ],
)
def test_processes_of_a_request(monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], count: int) -> None:
    """Several processes share a GPU by themselves where nothing was said of device, shares or processes."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(start_module, "visible_gpu_bytes", lambda: [143 * GB])
    assert start_module._processes(EmbedRequest("in", "store", "RN50", **words)) == count


def test_memory_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that does not tell its memory is counted, with no number."""

    def properties(number: int) -> SimpleNamespace:
        if number:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
        return SimpleNamespace(total_memory=25 * GB)

    torch = import_torch()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    assert visible_gpu_bytes() == [25 * GB, None]


def test_processes_share_memory(tmp_path: Path) -> None:
    """What --memory says is divided, so that all processes together stay under it; else each has room of its own.

    A share that no photo fits into is refused before anything starts.
    """
    request = EmbedRequest(str(tmp_path), str(tmp_path / "store"), "RN50", options=JobOptions(memory_bytes=8 * GB))
    shares = [supervisor._share(request, Shard(number, 4)).options.room_bytes for number in (1, 2, 3, 4)]
    assert shares == [2 * GB] * 4
    left_open = replace(request, options=JobOptions())
    assert supervisor._share(left_open, Shard(1, 4)).options.room_bytes == MEMORY_BYTES
    little = replace(request, options=JobOptions(memory_bytes=100_000_000))
    with pytest.raises(UsageError, match="leaves each of 4 processes 25 MB"):
        supervisor.run_all(little, 4)


@pytest.mark.parametrize(
    ("source", "limit", "words", "advised"),
    [
        ("s3://bucket/in/", "read", {}, True),
        ("s3://bucket/in/", "read", {"processes": 4}, False),
        ("s3://bucket/in/", "read", {"options": JobOptions(shard=Shard(1, 2))}, False),
        ("s3://bucket/in/", "encode", {}, False),
        ("file:///in/", "read", {}, False),
        ("file:///in/", "python", {"processes": 2}, True),
        ("s3://bucket/in/", "python", {"processes": 2}, True),
        ("file:///in/", "python", {"options": JobOptions(shard=Shard(1, 2))}, False),
    ],
)
def test_summary_says_what_helps_where_a_process_limits(
    capsys: pytest.CaptureFixture[str], source: str, limit: str, words: dict[str, Any], *, advised: bool
) -> None:
    """Where a process asks S3, or handles images, too slowly the summary names the option for more; nowhere else."""
    count = words.get("processes", 1)
    summary = Summary("run", "encoder", source, 9, 0, 9, 0, {}, 1, 1.0, {}, {}, limit, stopped=False, processes=count)
    _advise(summary, EmbedRequest(source, "store", "RN50", **words))
    assert ("--processes 4" in capsys.readouterr().out) is advised


@pytest.mark.parametrize(("shares", "line"), [({"read": 0.5}, "Busy: read 50%; encode is the device."), ({}, None)])
def test_summary_of_what_was_not_measured(
    capsys: pytest.CaptureFixture[str], shares: dict[str, float], line: str | None
) -> None:
    """Where nobody knows the stages' shares, as on Ray, the summary has no empty sentence about them."""
    _show(Summary("run", "encoder", "file:///in/", 9, 0, 9, 0, {}, 1, 1.0, {}, shares, "", stopped=False), "store")
    said = [one for one in capsys.readouterr().out.splitlines() if one.startswith(("Busy", "Time by"))]
    assert said[1:] == ([line] if line else [])


def test_error_of_a_process_is_raised() -> None:
    """What refuses one process refuses the command, in the same words, as the same class."""
    said = SourceError("It holds nothing.", "A mistyped prefix looks like this.", "Check it.")
    words = {"kind": "SourceError", "what": said.what, "why": said.why, "do": said.do}
    found = raised(words)
    assert (type(found), str(found)) == (SourceError, str(said))
    assert type(raised({**words, "kind": "Unheard"})) is ClipsieveError


def test_share_and_processes_contradict(tmp_path: Path, tiny_encoder: Path) -> None:
    """Two ways to divide the work at once are refused."""
    result = embed_command(tmp_path, tmp_path / "store", tiny_encoder, "--shard", "1/2", "--processes", "2")
    assert (result.exit_code, "--shard and --processes both divide the work." in result.stderr) == (2, True)
