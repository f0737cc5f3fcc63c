"""Which of these objects are done? An anti-join of the listing against the store.

An image is done when a row with its URI and revision stands in a part; nothing else is ever asked.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from store.again import Again, at_once
from store.layout import EncoderStore
from store.parts import read_part
from store.records import SourceObject, Status
from store.shards import WHOLE, Shard

_Halves = npt.NDArray[np.uint64]

_SHARING = 2
"""Two to the power of this many ids, or half of it, share the first bits that are looked up."""

_READERS = 8
"""Parts read at once: on S3 each is a few requests that wait, on disk pyarrow releases the GIL."""


class Ledger:
    """The ids of all images that a store holds, 16 bytes each, sorted; used by one thread at a time.

    An id begins with random bits, so its first ones say where among the sorted it would stand, and a few comparisons
    decide. A join would read the whole store's ids again for every page.
    """

    def __init__(
        self, store: EncoderStore, *, retry_failed: bool = False, shard: Shard = WHOLE, again: Again = at_once
    ) -> None:
        """Load the ids of a shard; with `retry_failed`, images that failed count as not done.

        `again` is how the store is asked for them.
        """

        def read(name: str) -> _Halves:
            return again(partial(_done, store, name, retry_failed=retry_failed, shard=shard))

        names = again(partial(store.parts, "images"))
        with ThreadPoolExecutor(_READERS, thread_name_prefix="ledger") as pool:
            found = [part for part in pool.map(read, names) if len(part)]
        self._high, self._low = _sorted(np.concatenate(found) if found else np.empty((0, 2), np.uint64))
        bits = max(1, len(self._high).bit_length() - _SHARING)
        self._shift = np.uint64(64 - bits)
        firsts = np.arange(1 << bits, dtype=np.uint64) << self._shift
        self._starts = np.append(np.searchsorted(self._high, firsts), len(self._high))

    def pending(self, objects: Sequence[SourceObject]) -> list[SourceObject]:
        """Return those objects, in their order, that no part holds yet."""
        return [objects[place] for place in self.pending_places([o.image_id.bytes for o in objects])]

    def pending_places(self, image_ids: Sequence[bytes]) -> list[int]:
        """Return the places of those ids, in their order, that no part holds yet."""
        return self.pending_of(_halves(image_ids))

    def pending_of(self, halves: _Halves) -> list[int]:
        """Return the places of those ids that no part holds yet; `halves` is (N, 2), the ids as pairs of numbers."""
        held = np.zeros(len(halves), np.bool_)
        place = (halves[:, 0] >> self._shift).astype(np.int64)
        at, end = self._starts[place], self._starts[place + 1]
        left = np.flatnonzero(at < end)
        while len(left):
            now = at[left]
            held[left] = (self._high[now] == halves[left, 0]) & (self._low[now] == halves[left, 1])
            at[left] += 1
            left = left[~held[left] & (at[left] < end[left])]
        places: list[int] = np.flatnonzero(~held).tolist()
        return places

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of the ids."""
        self._high = self._low = np.empty(0, np.uint64)
        self._starts = np.zeros(3, np.int64)


class Newcomers:
    """The images that other jobs write into a store while one works there; used by one thread at a time."""

    def __init__(self, store: EncoderStore, run_id: str, *, retry_failed: bool = False) -> None:
        """Know the parts that are there now, and the names of those that the run `run_id` will write."""
        self._store, self._run_id, self._retry_failed = store, run_id, retry_failed
        self._seen = set(store.parts("images"))
        self._ids: list[tuple[_Halves, _Halves]] = []  # of each part, sorted

    @property
    def found(self) -> bool:
        """Whether others have written any image since."""
        return bool(self._ids)

    def look(self) -> bool:
        """Look for parts again; return whether others have written some since the last look."""
        before = len(self._ids)
        for name in (entry.name for entry in self._store.location.files("images")):
            if name not in self._seen and name.endswith(".parquet") and self._run_id not in name:
                found = _done(self._store, name, retry_failed=self._retry_failed, shard=WHOLE)
                self._ids += [_sorted(found)] if len(found) else []
                self._seen.add(name)
        return len(self._ids) > before

    def pending(self, objects: Sequence[SourceObject]) -> list[SourceObject]:
        """Return those objects, in their order, that no other has written. Of ids that share 64 bits one is seen."""
        halves = _halves([o.image_id.bytes for o in objects])
        held = np.zeros(len(halves), np.bool_)
        for high, low in self._ids:
            at = np.minimum(np.searchsorted(high, halves[:, 0]), len(high) - 1)
            held |= (high[at] == halves[:, 0]) & (low[at] == halves[:, 1])
        return [objects[place] for place in np.flatnonzero(~held).tolist()]


def id_halves(ids: pa.ChunkedArray) -> _Halves:
    """Return a column of ids as (N, 2) numbers, the first and the last 64 bits of each."""
    chunks = [
        np.frombuffer(chunk.storage.buffers()[1], ">u8").reshape(-1, 2)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in ids.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks).astype(np.uint64) if chunks else np.empty((0, 2), np.uint64)


def _halves(image_ids: Sequence[bytes]) -> _Halves:
    return np.frombuffer(b"".join(image_ids), ">u8").reshape(-1, 2).astype(np.uint64)


def _done(store: EncoderStore, name: str, *, retry_failed: bool, shard: Shard) -> _Halves:
    """Return the ids that one part holds; raise StoreDamaged where it cannot be read."""
    rows = read_part(store.location, name, ["image_id", "status"] if retry_failed else ["image_id"])
    if retry_failed:
        rows = rows.filter(pc.not_equal(rows["status"], str(Status.FAILED)))
    halves = id_halves(rows["image_id"])
    return halves[shard.holds(halves[:, 0])]


def _sorted(halves: _Halves) -> tuple[_Halves, _Halves]:
    """Return both halves in the order of the first."""
    order = np.argsort(halves[:, 0])
    return halves[order, 0], halves[order, 1]
