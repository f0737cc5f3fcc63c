"""Pairs that share a neighbourhood: what the approximate way compares.

Rows are sorted into cells around centroids, and a cell's rows are compared with each other and with the rows that visit
it: those that lie not far beyond the plane between this cell and their own. So two rows are compared where one of them
visits the other's cell. How far a row visits is `reach`, chosen so that a sample's close pairs are all but surely
compared (`sample.py`); what is missed in the end is measured. The distance to the plane counts, not that to the
centroid, because that is how far a near-duplicate must have moved to be sorted elsewhere: it spares a third of the
work. All of this happens in the coordinates of the bound, which are unit vectors too, so that a row's fit to a cell is
an inner product.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from query.duplicates.neighbors.compare import Comparison, Pairs, Tile
from query.duplicates.neighbors.libraries import load_faiss
from query.duplicates.neighbors.rows import Index, Rows, Single, Spool
from store.cores import cores

STRIPES = 64
"""The cells are worked through in so many stripes, each of which becomes one file."""

_ROWS = 2048  # assigned at a time
_CHUNK = 4096  # rows of a cell, or its visitors, compared at a time
_ROUNDING = np.float32(1e-3)  # more than float32 gets wrong in a fit and in a distance of centroids
_TOUCHING = np.float32(1e-6)  # the least squared distance of two centroids
_ROWS_PER_CENTROID = 32  # in training
_ROUNDS = 8  # of training


@dataclass(frozen=True)
class Cells:
    """Where the cells lie and how far one visits. It belongs to a set of neighbors, so that later parts meet it too."""

    centroids: Single  # (C, k + 1), of length 1
    reach: float


def count_of_cells(rows: int) -> int:
    """Return a power of two near 2 * sqrt(rows): with more, sorting rows into cells costs more than it spares."""
    return 1 << max(round(math.log2(2 * max(rows, 1) ** 0.5)), 4)


def train(low: Single, count: int) -> Single:
    """Return (count, k + 1) float32 centroids of length 1, by FAISS's k-means on a sample of the rows."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(cores())
    sample = np.ascontiguousarray(low[:: max(len(low) // (count * _ROWS_PER_CENTROID), 1)])
    words = {"niter": _ROUNDS, "seed": 1, "spherical": True, "min_points_per_centroid": 1}
    kmeans = faiss.Kmeans(
        low.shape[1], min(count, len(sample)), max_points_per_centroid=2 * _ROWS_PER_CENTROID, **words
    )
    kmeans.train(sample)
    return np.asarray(kmeans.centroids, np.float32)


class Sorted:
    """The rows sorted into cells."""

    def __init__(self, low: Spool, cells: Cells, comparison: Comparison, pool: ThreadPoolExecutor) -> None:
        """Find every row's own cell and its fit there."""
        self._low, self.cells, self._comparison = low, cells, comparison
        starts = range(0, len(low.matrix), _ROWS)
        found = list(pool.map(self._own, starts))
        self.own: Index = np.concatenate([own for own, _ in found])  # (N,)
        self._best: Single = np.concatenate([best for _, best in found])

    @cached_property
    def _members(self) -> tuple[Index, Index]:
        """Return the rows in the order of their cells, and where each cell begins in it."""
        order = np.argsort(self.own, kind="stable")
        return order, np.searchsorted(self.own[order], np.arange(len(self.cells.centroids) + 1))

    def members(self, cell: int) -> Index:
        """Return the rows whose own cell this is, in their order."""
        order, begins = self._members
        return order[begins[cell] : begins[cell + 1]]

    def distances(self, rows: Index, cells: Index) -> Single:
        """Return (n,) float32: how far row k is from the plane between its own cell and cell k.

        The same bits whoever asks, so that two cells agree on which of them has found a pair.
        """
        centroids = self.cells.centroids
        own = self.own[rows]
        apart = np.sqrt(np.maximum(2 - 2 * self._comparison.products(centroids, own, centroids, cells), _TOUCHING))
        return np.where(own == cells, np.float32(0), (self._best[rows] - self._fits(rows, cells)) / apart)

    def visits(self, rows: Index, cells: Index) -> npt.NDArray[np.bool_]:
        """Return whether row k visits cell k."""
        return np.asarray(self.distances(rows, cells) <= np.float32(self.cells.reach))

    def visitors(self, cells: range, pool: ThreadPoolExecutor) -> list[Index]:
        """Return for each of these cells the rows that visit it, its own among them, in their order."""
        found = list(pool.map(partial(self._visitors, cells), range(0, len(self.own), _ROWS)))
        rows, visited = (np.concatenate([one[k] for one in found]) for k in (0, 1))
        order = np.argsort(visited, kind="stable")
        begins = np.searchsorted(visited[order], np.arange(len(cells) + 1))
        return [rows[order[begins[k] : begins[k + 1]]] for k in range(len(cells))]

    def _own(self, start: int) -> tuple[Index, Single]:
        own = (self._low.take(slice(start, start + _ROWS)) @ self.cells.centroids.T).argmax(axis=1)
        return own, self._fits(np.arange(start, start + len(own)), own)

    def _visitors(self, cells: range, start: int) -> tuple[Index, Index]:
        """Return visiting rows and the cells that they visit, counted from the first of these."""
        some = slice(start, start + _ROWS)
        mine = self.cells.centroids[cells.start : cells.stop]
        apart = np.sqrt(np.maximum(2 - 2 * (self.cells.centroids @ mine.T), _TOUCHING))
        nearly = self._best[some][:, None] - np.float32(self.cells.reach) * apart[self.own[some]] - _ROUNDING
        rows, visited = np.divmod(np.flatnonzero(self._low.take(some) @ mine.T >= nearly), len(cells))
        rows += start
        surely = self.visits(rows, visited + cells.start)
        return rows[surely], visited[surely]

    def _fits(self, rows: Index, cells: Index) -> Single:
        self._low.touched(len(rows))
        return self._comparison.products(self._low.matrix, rows, self.cells.centroids, cells)


@dataclass(frozen=True)
class Approximate:
    """The stripes of cells."""

    rows: Rows
    low: Spool
    sorted: Sorted
    comparison: Comparison
    pool: ThreadPoolExecutor

    @property
    def stripes(self) -> int:
        """Return how many stripes there are."""
        return min(STRIPES, len(self.sorted.cells.centroids))

    def work(self, stripe: int) -> int:
        """Return the rows whose own cell is in the stripe: how much a stripe does is known only when it is done."""
        return sum(len(self.sorted.members(cell)) for cell in self._cells(stripe))

    def pairs(self, stripe: int, on_work: Callable[[int], None]) -> Iterator[Pairs]:
        """Yield the close pairs that a stripe's cells are to find; `on_work` is told how many of its rows are done."""
        cells = self._cells(stripe)
        visitors = self.sorted.visitors(cells, self.pool)
        for cell, found in zip(cells, self.pool.map(self._cell, cells, visitors), strict=True):
            yield found
            on_work(len(self.sorted.members(cell)))

    def _cells(self, stripe: int) -> range:
        count = len(self.sorted.cells.centroids)
        return range(count * stripe // self.stripes, count * (stripe + 1) // self.stripes)

    def _cell(self, cell: int, visitors: Index) -> Pairs:
        """Compare a cell's rows with its visitors, new ones with all and old ones with new ones."""
        members = self.sorted.members(cell)
        old = self.rows.old
        found = [self._between(visitors[visitors >= old], members)]
        if old:
            found.append(self._between(visitors[visitors < old], members[members >= old]))
        return self._once(cell, Pairs.joined(found))

    def _between(self, visitors: Index, members: Index) -> Pairs:
        """Return the close pairs as (visitor, member)."""
        found = []
        for a in range(0, len(visitors), _CHUNK):
            for b in range(0, len(members), _CHUNK):
                some, others = visitors[a : a + _CHUNK], members[b : b + _CHUNK]
                pairs = self.comparison.pairs(self._tile(some), self._tile(others))
                found.append(Pairs(some[pairs.first], others[pairs.second], pairs.cosine))
        return Pairs.joined(found)

    def _tile(self, which: Index) -> Tile:
        return Tile(self.low.take(which), self.rows.squared[which], lambda places: self.rows.full(which[places]))

    def _once(self, cell: int, pairs: Pairs) -> Pairs:
        """Drop what is found twice: within the cell by either row, and across cells where each visits the other's.

        Of two cells that both find a pair, the one of the lower number keeps it.
        """
        own = self.sorted.own[pairs.first]
        inside = own == cell
        mutual = self.sorted.visits(pairs.second, own)
        return pairs.where(np.where(inside, pairs.first < pairs.second, ~mutual | (cell < own)))
