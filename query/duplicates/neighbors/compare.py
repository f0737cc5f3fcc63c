"""Two blocks of rows to their close pairs: bound them all, look at what is left, and settle it exactly."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt

from query.duplicates.neighbors.bound import Bound, limit
from query.duplicates.neighbors.cosine import cosines
from query.duplicates.neighbors.libraries import load_faiss
from query.duplicates.neighbors.rows import Double, Index, Rows, Single, Spool

BLOCK_ROWS, BLOCK_COLUMNS = 512, 1024
"""So large that the matrix product is efficient, so small that its 2 MB result is read again from the cache."""


_SETTLED_AT_ONCE = 1 << 15
"""Pairs that are looked at together: each look costs some fixed time."""


@dataclass(frozen=True)
class Tile:
    """Some rows, ready to be compared; the stored values of all of them, or of those that are asked for."""

    low: Single  # (n, k + 1) coordinates of the bound
    squared: Double  # (n,) squared lengths
    full: Single | Callable[[Index], Single]  # (n, D) stored values, or what gives those of some places

    def __len__(self) -> int:
        """Return n."""
        return len(self.low)

    def cut(self, start: int, stop: int) -> "Tile":
        """Return the rows from `start` to before `stop`, of a tile that has all values."""
        full = self.full
        return Tile(
            self.low[start:stop],
            self.squared[start:stop],
            (lambda places: full(places + start)) if callable(full) else full[start:stop],
        )

    def values(self, places: Index) -> tuple[Single, Index]:
        """Return a matrix that holds the rows at these places, and where in it each of them is."""
        if not callable(self.full):
            return self.full, places
        asked, at = np.unique(places, return_inverse=True)
        return self.full(asked), at


@dataclass(frozen=True)
class Pairs:
    """Close pairs as numbers of rows, and their cosines; true to the order in which blocks are compared."""

    first: Index
    second: Index
    cosine: Double  # rounded to six decimals

    def __len__(self) -> int:
        """Return how many."""
        return len(self.first)

    def where(self, wanted: npt.NDArray[np.bool_]) -> "Pairs":
        """Return some of them."""
        return Pairs(self.first[wanted], self.second[wanted], self.cosine[wanted])

    @staticmethod
    def joined(some: Iterable["Pairs"]) -> "Pairs":
        """Return all of several."""
        every = [NO_PAIRS, *some]
        return Pairs(
            np.concatenate([p.first for p in every]),
            np.concatenate([p.second for p in every]),
            np.concatenate([p.cosine for p in every]),
        )


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class Comparison:
    """Compares tiles at one floor with one bound. Safe to use from many threads at once."""

    def __init__(self, floor: float, bound: Bound, dim: int) -> None:
        """Settle the limits: of the bound, and of a float32 cosine."""
        self.floor, self.bound = floor, bound
        self._bound_limit = limit(floor, bound.columns(dim))
        self._cosine_limit = limit(floor, dim)
        self._faiss = load_faiss()
        self._scratch = local()

    def pairs(self, first: Tile, second: Tile, *, below: int | None = None) -> Pairs:
        """Return the close pairs of two tiles as (place in `first`, place in `second`).

        With `below`, only pairs whose place in `second` is less than `below` + the place in `first`: where both tiles
        are cut from one sequence, each pair once and no row with itself.
        """
        found: list[Pairs] = []
        waiting: list[tuple[Index, Index]] = []
        for i, j in self._bounded(first, second, below):
            waiting.append((i, j))
            if sum(len(one) for one, _ in waiting) >= _SETTLED_AT_ONCE:
                found.append(self._settled(first, second, waiting))
                waiting = []
        return Pairs.joined([*found, self._settled(first, second, waiting)])

    def _bounded(self, first: Tile, second: Tile, below: int | None) -> Iterator[tuple[Index, Index]]:
        """Yield, block by block, the places of pairs whose bound reaches the limit."""
        columns = min(BLOCK_COLUMNS, len(second))
        rows = BLOCK_ROWS * BLOCK_COLUMNS // max(columns, 1)
        for row in range(0, len(first), rows):
            last = min(row + rows, len(first)) - 1
            end = len(second) if below is None else min(len(second), max(below + last, 0))
            for column in range(0, end, columns):
                i, j = self._candidates(first.low[row : last + 1], second.low[column : column + columns])
                i += row
                j += column
                if below is not None and column + columns > below + row:
                    i, j = i[j < i + below], j[j < i + below]
                if len(i):
                    yield i, j

    def _candidates(self, first: Single, second: Single) -> tuple[Index, Index]:
        """Return the places of those pairs of a block whose bound reaches the limit."""
        columns = len(second)
        bounds, reached = self._buffers(len(first), columns)
        np.matmul(first, second.T, out=bounds)
        np.greater_equal(bounds, self._bound_limit, out=reached)
        flat = np.flatnonzero(reached)
        i = flat // columns
        return i, flat - i * columns

    def _buffers(self, rows: int, columns: int) -> tuple[Single, npt.NDArray[np.bool_]]:
        """Return this thread's buffers, contiguous (rows, columns) each."""
        scratch: Any = self._scratch
        if not hasattr(scratch, "bounds"):
            scratch.bounds = np.empty(BLOCK_ROWS * BLOCK_COLUMNS, np.float32)
            scratch.reached = np.empty(BLOCK_ROWS * BLOCK_COLUMNS, bool)
        size = rows * columns
        return scratch.bounds[:size].reshape(rows, columns), scratch.reached[:size].reshape(rows, columns)

    def _settled(self, first: Tile, second: Tile, waiting: Sequence[tuple[Index, Index]]) -> Pairs:
        """Return those pairs whose cosine reaches the floor, first by float32, then exactly."""
        if not waiting:
            return NO_PAIRS
        i, j = (np.concatenate([places[side] for places in waiting]) for side in (0, 1))
        (rows, a), (columns, b) = first.values(i), second.values(j)
        lengths = np.sqrt(first.squared[i] * second.squared[j])
        near = np.flatnonzero(self.products(rows, a, columns, b) / lengths >= self._cosine_limit)
        i, j = i[near], j[near]
        exact = cosines((rows, a[near], first.squared[i]), (columns, b[near], second.squared[j]))
        reached = exact >= self.floor
        return Pairs(i[reached], j[reached], exact[reached])

    def products(self, first: Single, i: Index, second: Single, j: Index) -> Single:
        """Return (n,) float32: the inner product of row i[k] of `first` with row j[k] of `second`, for each k.

        Two rows give the same bits wherever they stand.
        """
        found = np.empty(len(i), np.float32)
        arrays = [np.ascontiguousarray(array) for array in (first, i, second, j)]
        pointers = [self._faiss.swig_ptr(array) for array in arrays]
        self._faiss.pairwise_indexed_inner_product(first.shape[1], len(i), *pointers, self._faiss.swig_ptr(found))
        return found


class Tiles:
    """The rows cut into tiles, of which as many stay in memory as it has room for."""

    def __init__(self, rows: Rows, low: Spool, size: int, memory_bytes: int) -> None:
        """Cut into tiles of `size` rows; `low` holds the rows' coordinates of the bound."""
        self._rows, self.low, self.size = rows, low, size
        bytes_each = size * (4 * rows.dim + low.matrix.itemsize * low.matrix.shape[1])
        self._room = max(memory_bytes // bytes_each, 0)
        self._kept: dict[int, Tile] = {}

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return math.ceil(len(self._rows) / self.size)

    def tile(self, number: int) -> Tile:
        """Return one tile. The first ones are those that stay: all are walked through over and over in one order."""
        if number not in self._kept:
            tile = self._read(slice(number * self.size, (number + 1) * self.size))
            if len(self._kept) >= self._room:
                return tile
            self._kept[number] = tile
        return self._kept[number]

    def some(self, which: slice | Index) -> Tile:
        """Return any rows."""
        return self._read(which)

    def __iter__(self) -> Iterator[tuple[int, Tile]]:
        """Yield the number of the first row of every tile, and the tile."""
        return ((number * self.size, self.tile(number)) for number in range(len(self)))

    def _read(self, which: slice | Index) -> Tile:
        return Tile(self.low.take(which), self._rows.squared[which], self._rows.full(which))
