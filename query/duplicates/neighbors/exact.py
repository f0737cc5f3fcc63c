"""Every pair of a new row with a row before it: nothing is missed, and nothing is compared twice."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from query.duplicates.neighbors.compare import BLOCK_ROWS, Comparison, Pairs, Tile, Tiles
from query.duplicates.neighbors.rows import Rows

STRIPE = 16_384
"""Rows of one stripe, which is compared with all rows before it and becomes one file."""

_TASK = 4 * BLOCK_ROWS


@dataclass(frozen=True)
class Exact:
    """The stripes of the new rows."""

    rows: Rows
    tiles: Tiles  # of STRIPE rows
    comparison: Comparison
    pool: ThreadPoolExecutor

    @property
    def stripes(self) -> int:
        """Return how many stripes there are."""
        return -(-(len(self.rows) - self.rows.old) // STRIPE)

    def work(self, stripe: int) -> int:
        """Return how many pairs a stripe compares."""
        start, stop = self._range(stripe)
        return (stop - start) * (stop + start - 1) // 2

    def pairs(self, stripe: int, on_work: Callable[[int], None]) -> Iterator[Pairs]:
        """Yield the close pairs of a stripe; `on_work` is told how many pairs were compared since."""
        start, stop = self._range(stripe)
        mine = self.tiles.some(slice(start, stop))
        for begin, others in self.tiles:
            if begin >= stop:
                return
            offset = start - begin  # what is added to a place in `mine` to count from the other tile's first row

            def compare(row: int, others: Tile = others, offset: int = offset, begin: int = begin) -> Pairs:
                found = self.comparison.pairs(mine.cut(row, row + _TASK), others, below=offset + row)
                return Pairs(found.first + (start + row), found.second + begin, found.cosine)

            for row, found in zip(_tasks(mine), self.pool.map(compare, _tasks(mine)), strict=True):
                yield found
                on_work(_compared(offset + row, min(_TASK, len(mine) - row), len(others)))

    def _range(self, stripe: int) -> tuple[int, int]:
        start = self.rows.old + stripe * STRIPE
        return start, min(start + STRIPE, len(self.rows))


def _tasks(mine: Tile) -> range:
    return range(0, len(mine), _TASK)


def _compared(offset: int, rows: int, others: int) -> int:
    """Return how many pairs lie below the diagonal: place in others < offset + place in mine."""
    return sum(min(max(offset + k, 0), others) for k in range(rows))
