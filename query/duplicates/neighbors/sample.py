"""A sample whose close pairs are all looked for: it says how far rows must visit, and what was found in the end."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from query.duplicates.neighbors.cells import Sorted
from query.duplicates.neighbors.compare import Comparison, Pairs, Tiles
from query.duplicates.neighbors.rows import Index
from query.duplicates.recall import Recall

SAMPLE = 4096
"""Images whose neighbors are all looked for, once to choose the reach and once, others, to measure the recall."""

AIMED_AT = 0.95
"""The cosine at which the reach aims. Pairs below it are farther apart, and more of them are missed."""

_MISSED = 0.0005  # the share of a sample's pairs that the reach may miss
_MARGIN = 1.15  # on it, since a sample does not hold the worst pair
_LEAST_REACH = 0.02
_TASK = 2048  # rows that one thread compares with the sample at a time


def samples(start: int, stop: int) -> tuple[Index, Index]:
    """Return two samples of the rows from `start` to before `stop` that have no row in common, the same every time."""
    chosen = np.random.default_rng(1).permutation(stop - start)[: 2 * SAMPLE] + start
    half = len(chosen) // 2
    return np.sort(chosen[:half]), np.sort(chosen[half:])


def neighbors_of(sample: Index, tiles: Tiles, comparison: Comparison, pool: ThreadPoolExecutor) -> Pairs:
    """Return every close pair of the sampled rows as (sampled row, other row), compared with all rows."""
    mine = tiles.some(sample)
    found = []
    for begin, others in tiles:
        starts = range(0, len(others), _TASK)
        cuts = [others.cut(start, start + _TASK) for start in starts]
        for start, pairs in zip(starts, pool.map(comparison.pairs, [mine] * len(cuts), cuts), strict=True):
            found.append(Pairs(sample[pairs.first], pairs.second + (begin + start), pairs.cosine))
    every = Pairs.joined(found)
    return every.where(every.first != every.second)


def choose_reach(pairs: Pairs, cells: Sorted) -> float:
    """Return how far rows must visit so that hardly one of these pairs is missed."""
    aimed = pairs.where(pairs.cosine >= min(AIMED_AT, pairs.cosine.max(initial=0.0)))
    if not len(aimed):
        return _LEAST_REACH
    there = cells.distances(aimed.first, cells.own[aimed.second])
    back = cells.distances(aimed.second, cells.own[aimed.first])
    needed = np.quantile(np.minimum(there, back), 1 - _MISSED, method="higher")
    return max(float(needed) * _MARGIN, _LEAST_REACH)


def measure(pairs: Pairs, found: npt.NDArray[np.bool_], thresholds: Sequence[float]) -> list[Recall]:
    """Return the recall at each threshold; `found` says of each of a sample's pairs whether it was found."""
    lot = np.random.default_rng(2).permutation(len(pairs))
    measured = []
    for at in thresholds:
        close = pairs.cosine >= at
        shuffled = lot[close[lot]]
        _, first = np.unique(pairs.first[shuffled], return_index=True)
        drawn = shuffled[first]
        counts = (int(close.sum()), int(found[close].sum()), len(drawn), int(found[drawn].sum()))
        measured.append(Recall(at, *counts))
    return measured
