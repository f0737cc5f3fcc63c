"""The parts between listing and writing: memory is bounded, parts are cut in time, and no error is lost on the way."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embed import writer as writer_module
from embed.backlog import Backlog
from embed.encoders import ImageTower
from embed.prepare import Budget
from embed.progress import Tally
from embed.readers import Readers
from embed.sources.folder import FolderSource
from embed.writer import PartWriter
from store.errors import LocationError
from store.layout import EncoderStore
from store.location import FolderLocation
from store.parts import read_part
from store.records import SourceObject
from tests.embedding import all_rows, batches_in_flight, embed, outcomes, shelf
from tests.pictures import OUTCOMES
from tests.stores import embedded, files_of, listed, new_store

# Budget


@given(
    objects=st.integers(1, 20),
    size_bytes=st.integers(1, 50),
    sizes=st.lists(st.integers(0, 80), min_size=1, max_size=60),
)
def test_budget_is_never_exceeded(objects: int, size_bytes: int, sizes: list[int]) -> None:
    """However large objects are, no more of them and of their bytes are in flight than allowed; all get through."""
    budget = Budget(objects, size_bytes)
    lock = threading.Lock()
    held: list[int] = []
    seen: list[tuple[int, int]] = []

    def use(size: int) -> None:
        with lock:
            held.append(size)
            seen.append((len(held), sum(min(one, size_bytes) for one in held)))
        with lock:
            held.remove(size)
        budget.give_back(size)

    with ThreadPoolExecutor(4) as pool:
        for size in sizes:
            assert budget.take(size)
            pool.submit(use, size)
    assert len(seen) == len(sizes)
    assert all(count <= objects and total <= size_bytes for count, total in seen)


def test_closed_budget_lets_go() -> None:
    """Closing the budget ends every wait, so that a job that stops leaves no thread behind."""
    budget = Budget(1, 10)
    assert budget.take(99)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(budget.take, 1) for _ in range(3)]
        budget.close()
        assert [one.result(10) for one in waiting] == [False] * 3
    assert not budget.take(1)


def test_readers_end_with_what_they_have_in_hand() -> None:
    """Closing waits for what is being read, and nothing that only waits is begun."""
    begun, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def work(wanted: SourceObject) -> None:
        begun.set()
        assert go_on.wait(10)
        done.append(wanted.key)

    readers = Readers(1, work)
    for key in ("in/a", "in/b", "in/c"):
        readers.put(listed(key))
    assert begun.wait(10)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(readers.close)
        while not readers.is_closed:
            pass
        go_on.set()
        closing.result(10)
    assert done == ["in/a"]


@given(
    pages=st.lists(st.lists(st.integers(0, 5).map(lambda k: listed(f"in/{k}")), max_size=3), max_size=8),
    scattered=st.booleans(),
)
def test_backlog_is_a_queue(pages: list[list[SourceObject]], *, scattered: bool) -> None:
    """What is put into the backlog comes out once, however the two threads take turns; in order, unless scattered."""
    backlog = Backlog()
    if scattered:
        backlog.scatter()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(lambda: [one for page in backlog.pages() for one in page])
        for page in pages:
            backlog.put(page)
        backlog.end()
        found, put = taken.result(10), [one for page in pages for one in page]
        assert Counter(one.key for one in found) == Counter(one.key for one in put)
        assert scattered or found == put
    backlog.close()


# Parts


class Clock:
    """Stands for `time.monotonic`, in seconds."""

    now = 1000.0

    def monotonic(self) -> float:
        """The time that the test says it is."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The writer's clock, moved by hand."""
    clock = Clock()
    monkeypatch.setattr(writer_module, "time", clock)
    return clock


def sizes(store: EncoderStore) -> list[int]:
    """How many rows each part has."""
    fresh = store.refreshed()
    return [read_part(fresh.location, name).num_rows for name in fresh.parts("images")]


def test_part_is_cut_by_age(tmp_path: Path, clock: Clock) -> None:
    """A part is written when its oldest row is too old, counted from that row and not from the part before."""
    store = new_store(tmp_path)
    rows = [embedded(listed(f"in/{k}")) for k in range(4)]
    with PartWriter(store, "run", (100, 60.0), Tally()) as writer:
        writer.add(rows[0])
        clock.now += 59
        writer.add(rows[1])
        clock.now += 2
        writer.flush_if_due()
        clock.now += 500
        writer.add(rows[2])
        clock.now += 59
        writer.flush_if_due()
        writer.add(rows[3])
    assert sizes(store) == [2, 2]


def test_part_is_cut_by_rows(tmp_path: Path, clock: Clock) -> None:
    """A full part is written at once; what is left is written at the end, also after an error elsewhere."""
    store = new_store(tmp_path)

    def write_and_fail() -> None:
        with PartWriter(store, "run", (3, 60.0), Tally()) as writer:
            for k in range(7):
                writer.add(embedded(listed(f"in/{k}")))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert sizes(store) == [3, 3, 1]


# Errors on the way


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that takes no third part of images."""
    whole, written = FolderLocation.write, []

    def write(self: FolderLocation, name: str, data: bytes | Path) -> None:
        if name.startswith("images/"):
            written.append(name)
            if len(written) > 2:
                raise LocationError("The disk is full.")
        whole(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(FolderLocation, "write", write)
        yield


def test_disk_full(photos: Path, tiny_encoder: Path, tmp_path: Path, full_disk: None) -> None:
    """A part that cannot be written ends the job with the reason; the parts before it count, the next job goes on."""
    with pytest.raises(LocationError, match="The disk is full"):
        embed(photos, tmp_path, tiny_encoder, part_rows=4)
    assert sizes(shelf(tmp_path)) == [4, 4]


@pytest.mark.parametrize("place", ["fetch", "encode", "backlog"])
def test_fault_in_our_own_code(
    photos: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A fault in any thread ends the job loudly, and leaves neither a thread nor a half-written file behind."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError(place)

    owner, name = {
        "fetch": (FolderSource, "fetch"),
        "encode": (ImageTower, "submit"),
        "backlog": (Backlog, "pages"),
    }[place]
    threads = set(threading.enumerate())
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(ZeroDivisionError, match=place):
            embed(photos, tmp_path, tiny_encoder)
    assert set(threading.enumerate()) <= threads
    assert not [name for name in files_of(tmp_path) if name.endswith(".tmp")]
    embed(photos, tmp_path, tiny_encoder, part_rows=16)
    assert outcomes(tmp_path) == OUTCOMES


def test_progress_line() -> None:
    """The line says how much of how much is done, how fast, and when it will be over, once that is known."""
    tally = Tally(listed=1500, already_done=500, embedded=200, not_images=50, started=0.0)
    assert tally.line().startswith("250 of 1,000+ (listing) images · ")
    assert tally.line().endswith("0 errors · time left unknown")
    done = replace(tally, listing_complete=True)
    done.errors["empty"] = 250
    assert done.line().startswith("500 of 1,000 images · ")
    assert "250 errors" in done.line()
    assert done.line().endswith(" left")


def test_rows_carry_utc_times(tmp_path: Path) -> None:
    """Times are stored in UTC, to the microsecond."""
    store = new_store(tmp_path)
    moment = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
    with PartWriter(store, "run", (1, 60.0), Tally()) as writer:
        writer.add(replace(embedded(listed("in/a")), embedded_at=moment))
    (name,) = store.refreshed().parts("images")
    assert read_part(store.location, name)["embedded_at"].to_pylist() == [moment]


# Batches in flight


def test_next_batch_leaves_before_the_last_one_is_back(
    tmp_path: Path, photos: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the device works behind the job's back two batches are with it at once, never three; no row changes."""
    embed(photos, tmp_path / "one by one", tiny_encoder)
    most, flying = batches_in_flight(monkeypatch)
    embed(photos, tmp_path / "two in flight", tiny_encoder)
    assert (max(most), flying) == (2, [])
    assert all_rows(tmp_path / "two in flight") == all_rows(tmp_path / "one by one")
