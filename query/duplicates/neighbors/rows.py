"""The embeddings that are to be compared: read from the store once, kept on local disk, mapped into memory."""

import errno
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from query.duplicates.ids import NO_CROWDS, Crowds, ids_of
from query.duplicates.neighbors.cosine import squared_lengths
from store.errors import LocationError, StoreDamaged
from store.layout import EncoderStore
from store.parts import damaged, read_part
from store.records import Status

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_MAPPED_AT_ONCE = 1 << 16  # bytes that Linux maps around a page that is touched
_MAPPED_AT_MOST = 1 << 27
_MOVED = 4096  # rows moved at a time
_STEP = 64  # rows widened at a time, so that the five passes over them stay in the cache


class Spool:
    """A matrix in memory, or in a nameless local file that is mapped into memory and gone when the process is."""

    def __init__(self, rows: int, columns: int, kind: type[np.generic], *, on_disk: bool) -> None:
        """Reserve the room; raise LocationError where the disk lacks it."""
        self._map: mmap.mmap | None = None
        self._touched = 0
        self.memory_bytes = 0 if on_disk else rows * columns * np.dtype(kind).itemsize
        if not on_disk:
            self.matrix: npt.NDArray[Any] = np.empty((rows, columns), kind)
            return
        size = rows * columns * np.dtype(kind).itemsize
        with tempfile.TemporaryFile(prefix="clipsieve-") as file:  # the mapping keeps it
            _reserve(file.fileno(), size)
            self._map = mmap.mmap(file.fileno(), size)
        self.matrix = np.frombuffer(self._map, kind).reshape(rows, columns)

    def take(self, which: slice | Index) -> npt.NDArray[Any]:
        """Return a copy of some rows."""
        taken = np.array(self.matrix[which])
        self.touched(len(taken) if isinstance(which, np.ndarray) else taken.nbytes // _MAPPED_AT_ONCE)
        return taken

    def keep(self, rows: Index) -> None:
        """Let the matrix have these rows alone, which are in ascending order; no room is given back."""
        stay = int(np.count_nonzero(rows == np.arange(len(rows))))
        for start in range(stay, len(rows), _MOVED):
            some = self.take(rows[start : start + _MOVED])  # none of them has been overwritten: rows only move forward
            self.matrix[start : start + len(some)] = some
        self.matrix = self.matrix[: len(rows)]

    def touched(self, places: int) -> None:
        """Count that so many places were read or written, and give the pages back to the file cache now and then.

        They would count as this process's memory for as long as they are mapped. To read one maps those around it.
        """
        self._touched += places
        if self._map is not None and self._touched * _MAPPED_AT_ONCE > _MAPPED_AT_MOST:
            self._touched = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Rows:
    """N embeddings as the store holds them, each image once: those of `old` parts first, which are compared already."""

    spool: Spool  # (N, D) float16
    ids: npt.NDArray[np.uint8]  # (N, 16), the bytes of each image's UUID
    squared: Double  # (N,) the exact squared length of each
    old: int  # so many rows of the first are of old parts
    digests: npt.NDArray[np.uint64]  # (N,) of the bits of each: equal rows have equal ones

    def __len__(self) -> int:
        """Return N."""
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Return D."""
        return int(self.spool.matrix.shape[1])

    @cached_property
    def place(self) -> npt.NDArray[np.int32]:
        """Return (N,) int32: the place of each image in the order of ids, as DuckDB orders UUIDs."""
        halves = self.ids.view(">u8").astype(np.uint64)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        place = np.empty(len(self), np.int32)
        place[order] = np.arange(len(self), dtype=np.int32)
        return place

    def without(self, some: Index) -> "Rows":
        """Return these rows without some of the new ones; the spool is the same, so these are no more."""
        kept = np.delete(np.arange(len(self)), some)
        self.spool.keep(kept)
        return Rows(self.spool, self.ids[kept], self.squared[kept], self.old, self.digests[kept])

    def full(self, which: slice | Index) -> Single:
        """Return some rows as float32, the stored values unchanged."""
        return widened(self.spool.take(which))

    def units(self, which: slice | Index) -> Double:
        """Return some rows as float64, of length 1."""
        return self.full(which) / np.sqrt(self.squared[which])[:, None]


def widened(half: Half) -> Single:
    """Return finite float16 values as float32, unchanged: a shift and a product, three times as fast as `astype`.

    The exponent moves from five bits to eight, whose bias is 112 greater. https://en.wikipedia.org/wiki/Half-precision
    """
    rows, columns = half.shape
    bits = np.empty((rows, columns), np.int32)
    source = half.view(np.int16)
    for start in range(0, rows, _STEP):
        block = bits[start : start + _STEP]
        block[:] = source[start : start + _STEP]
        block <<= 13
        block &= -0x70002000  # the sign, five bits of exponent, ten of mantissa
        values = block.view(np.float32)
        values *= np.float32(2.0**112)
    return bits.view(np.float32)


def digested(half: Half) -> npt.NDArray[np.uint64]:
    """Return (n,) uint64: a hash of the bits of each row of (n, D), a sum of products that wraps around."""
    rows, columns = half.shape
    factors = np.random.default_rng(3).integers(0, 1 << 63, columns, np.uint64) * np.uint64(2) + np.uint64(1)
    found = np.empty(rows, np.uint64)
    bits = half.view(np.uint16)
    for start in range(0, rows, _STEP):
        found[start : start + _STEP] = np.vecdot(bits[start : start + _STEP].astype(np.uint64), factors)
    return found


def read_rows(
    store: EncoderStore, old: Sequence[str], new: Sequence[str], memory_bytes: int, crowds: Crowds = NO_CROWDS
) -> Rows:
    """Read the embeddings of these parts (names without folder and suffix), old ones first.

    They stay in memory where they take no more than this. What is a member of one of these crowds is read as the image
    that is compared for it.
    """
    dim = store.encoder.embedding_dim
    found = [crowds.named(_embedded_ids(store, part)) for part in (*old, *new)]
    everything = np.concatenate([np.empty((0, 16), np.uint8), *found])
    _, first = np.unique(everything.view("V16"), return_index=True)
    counts = np.zeros(len(everything), bool)
    counts[first] = True
    ids = everything[counts]
    bounds = np.cumsum([0, *map(len, found)])
    spool = Spool(len(ids), dim, np.float16, on_disk=2 * dim * len(ids) > memory_bytes)
    old_rows = int(counts[: bounds[len(old)]].sum())
    rows = Rows(spool, ids, np.empty(len(ids)), old_rows, np.empty(len(ids), np.uint64))
    filled = 0
    for k, part in enumerate((*old, *new)):
        wanted = counts[bounds[k] : bounds[k + 1]]
        filled += _fill(rows, filled, store, part, wanted)
    return rows


def _fill(rows: Rows, start: int, store: EncoderStore, part: str, wanted: npt.NDArray[np.bool_]) -> int:
    """Copy the wanted embeddings of a part into the rows from `start` on; return how many these are."""
    taken = seen = 0
    for half in _embeddings(store, part, rows.dim):
        some = half[wanted[seen : seen + len(half)]]
        at = slice(start + taken, start + taken + len(some))
        rows.spool.matrix[at] = some
        rows.spool.touched(some.nbytes // _MAPPED_AT_ONCE)
        rows.squared[at] = squared_lengths(widened(some))
        rows.digests[at] = digested(some)
        seen, taken = seen + len(half), taken + len(some)
        if not (np.isfinite(some).all() and rows.squared[at].all()):
            raise StoreDamaged(
                f"{store.location.uri}/images/{part}.parquet holds embeddings that are no directions.",
                "A cosine with one would mean nothing.",
                "Run `clipsieve verify STORE`.",
            )
    return taken


def _embedded_ids(store: EncoderStore, part: str) -> npt.NDArray[np.uint8]:
    """Return (n, 16) uint8: the ids of the embedded images of a part, in its order."""
    table = read_part(store.location, f"images/{part}.parquet", ["image_id", "status"])
    kept = table.filter(pa.compute.equal(table["status"], str(Status.EMBEDDED)))
    return ids_of(kept["image_id"])


def _embeddings(store: EncoderStore, part: str, dim: int) -> Iterator[Half]:
    """Yield (n, D) float16 by row group: the embeddings of the embedded images of a part, in its order."""
    name = f"images/{part}.parquet"
    try:
        with store.location.open(name) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, ["status", "embedding"])
                kept = table.filter(pa.compute.equal(table["status"], str(Status.EMBEDDED)))
                for chunk in kept["embedding"].chunks:
                    yield chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    except (pa.ArrowException, OSError) as error:
        raise damaged(store.location, name, error) from error


def _reserve(descriptor: int, size: int) -> None:
    """Take the room now: a mapped file that outgrows its disk would end the process without a word."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            os.truncate(descriptor, size)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}:
            raise
        raise LocationError(
            f"Comparing needs {size / 1e9:,.1f} GB in {tempfile.gettempdir()}, which has not that much room.",
            do="Free some space, or set TMPDIR to a folder on another disk.",
        ) from error
