"""One round: new parts are compared with each other and with all before them, stripe by stripe."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from query.connection import connect
from query.duplicates.neighbors.bound import Bound, choose_bound, limit
from query.duplicates.neighbors.cells import Approximate, Cells, Sorted, count_of_cells, train
from query.duplicates.neighbors.compare import Comparison, Pairs, Tiles
from query.duplicates.neighbors.crowds import find_crowds
from query.duplicates.neighbors.exact import STRIPE, Exact
from query.duplicates.neighbors.files import (
    pairs_table,
    read_cells,
    read_crowds,
    write_cells,
    write_crowds,
    write_pairs,
)
from query.duplicates.neighbors.rows import Double, Rows, Spool, read_rows
from query.duplicates.neighbors.sample import choose_reach, measure, neighbors_of, samples
from query.duplicates.sets import EXACT, NeighborSet, Round, read_neighbor_sets, write_neighbor_set
from query.scoring.score_sets import image_parts
from sql import load
from store.errors import StoreError, UsageError
from store.layout import EncoderStore

MOST_PAIRS = 2_000_000_000
"""So many pairs are 72 GB. A floor that would give more is refused."""

_SAMPLE = 8192  # rows whose pairs say how dense the whole is
_FIXED_BYTES = 450_000_000  # the libraries, and the buffers of the threads
_BYTES_PER_ROW = 72  # id, place, length, hash, cell, fit, and what sorting them takes

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Work:
    """What one round needs."""

    store: EncoderStore
    target: NeighborSet
    one: Round
    pool: ThreadPoolExecutor
    memory_bytes: int
    on_progress: OnProgress

    def run(self) -> NeighborSet:
        """Compare, write what is close, and return the set with this round done."""
        self.on_progress("Reading", 0, 1)
        there = set(image_parts(self.store))
        before = [part for part in self.target.parts if part in there]
        known = read_crowds(self.store, self.target)
        rows = read_rows(self.store, before, self.one.parts, (self.memory_bytes - _FIXED_BYTES) * 2 // 3, known)
        rows, crowds = find_crowds(rows, known)
        new = len(rows) - rows.old
        one = replace(self.one, images=new + len(crowds), members=len(crowds), stripes=0)
        sample = rows.units(np.random.default_rng(0).permutation(len(rows))[:_SAMPLE])
        _refuse_flood(rows, sample, self.target.floor)
        if len(crowds) and self.target.crowd_file(one) not in self.target.refreshed(self.store.refreshed()).present:
            write_crowds(self.store, self.target.crowd_file(one), crowds)
        if not new:
            return self._record(one)
        return replace(self, one=one).compared(rows, sample)

    def compared(self, rows: Rows, sample: Double) -> NeighborSet:
        """Compare these rows, by the method of the set."""
        return self._exactly(rows, sample) if self.target.method == EXACT else self._by_cells(rows, sample)

    def _exactly(self, rows: Rows, sample: Double) -> NeighborSet:
        bound = choose_bound(sample, self.target.floor)
        tiles = self._tiles(rows, bound)
        comparison = Comparison(self.target.floor, bound, rows.dim)
        return self._compare(rows, Exact(rows, tiles, comparison, self.pool))

    def _by_cells(self, rows: Rows, sample: Double) -> NeighborSet:
        held = read_cells(self.store, self.target)
        bound = held[0] if held else choose_bound(sample, self.target.floor, crowded=True)
        comparison = Comparison(self.target.floor, bound, rows.dim)
        tiles = self._tiles(rows, bound)
        chosen, measured = samples(rows.old, len(rows))
        if held:
            cells = held[1]
        else:
            self.on_progress("Laying out cells", 0, 1)
            cells = Cells(train(tiles.low.matrix, count_of_cells(len(rows))), 0.0)
            close = neighbors_of(chosen, tiles, comparison, self.pool)
            cells = replace(cells, reach=choose_reach(close, Sorted(tiles.low, cells, comparison, self.pool)))
            if not write_cells(self.store, self.target, bound, cells):
                return self._by_cells(rows, sample)  # another process was first: both must sort into the same cells
        by_cell = Sorted(tiles.low, cells, comparison, self.pool)
        target = self._compare(rows, Approximate(rows, tiles.low, by_cell, comparison, self.pool))
        self.on_progress("Measuring the recall", 0, 1)
        close = neighbors_of(measured, tiles, comparison, self.pool)
        one = next(r for r in target.rounds if r.round_id == self.one.round_id)
        recall = measure(close, self._were_found(rows, close, target.files(one)), _thresholds(self.target.floor))
        return self._record(replace(one, recall=tuple(recall)))

    def _compare(self, rows: Rows, method: Exact | Approximate) -> NeighborSet:
        """Write every stripe that is not there yet."""
        target = self._record(replace(self.one, stripes=method.stripes))
        one = next(r for r in target.rounds if r.round_id == self.one.round_id)
        work = [method.work(stripe) for stripe in range(method.stripes)]
        done = [0]

        def on_work(more: int) -> None:
            done[0] += more
            self.on_progress("Comparing", done[0], sum(work))

        for stripe, name in enumerate(target.files(one)):
            if name in target.present:
                on_work(work[stripe])
            else:
                write_pairs(self.store, name, rows, method.pairs(stripe, on_work))
        return target.refreshed(self.store.refreshed())

    def _tiles(self, rows: Rows, bound: Bound) -> Tiles:
        """Return the rows cut into tiles, with the bound's coordinates of every row spooled beside them."""
        room = self.memory_bytes - _FIXED_BYTES - _BYTES_PER_ROW * len(rows) - rows.spool.memory_bytes
        if room < 0:
            needed = (_FIXED_BYTES + _BYTES_PER_ROW * len(rows)) * 1.2
            raise UsageError(f"Comparing {len(rows):,} images needs --memory {needed / 1e9:.1f}GB at least.")
        columns = bound.columns(rows.dim)
        low = Spool(len(rows), columns, np.float32, on_disk=4 * columns * len(rows) > room)

        def fill(start: int) -> None:
            some = slice(start, start + STRIPE // 4)
            low.matrix[some] = bound.low(rows.units(some))
            low.touched(1)

        for _ in self.pool.map(fill, range(0, len(rows), STRIPE // 4)):
            pass
        return Tiles(rows, low, STRIPE, room - low.memory_bytes)

    def _record(self, one: Round) -> NeighborSet:
        """Write the set with this round; raise where another process has changed it meanwhile."""
        store = self.store.refreshed()
        now = next((s for s in read_neighbor_sets(store) if s.set_id == self.target.set_id), self.target)
        known = {r.round_id for r in self.target.rounds} | {one.round_id}
        if any(r.round_id not in known for r in now.rounds):
            raise StoreError(
                f"Another process has added to {store.location.uri}/{now.folder} meanwhile.",
                do="Run `clipsieve neighbors STORE` again: what both have found stays.",
            )
        # Rounds that were given up are left out; their files are removed in the end.
        kept = replace(self.target, rounds=tuple(self.target.complete), created_at=now.created_at)
        return write_neighbor_set(store, kept.with_round(one)).refreshed(store)

    def _were_found(self, rows: Rows, close: Pairs, files: list[str]) -> npt.NDArray[np.bool_]:
        """Return for each pair whether it stands in these files."""
        with connect(self.store.location) as connection:
            paths = [self.store.location.duckdb_path(name) for name in files]
            connection.read_parquet(paths).create_view("neighbor_rows")
            connection.register("sampled", pairs_table(rows, close, numbered=True))
            found = connection.sql(load("duplicates/found")).fetchnumpy()["number"]
        were = np.zeros(len(close), bool)
        were[found] = True
        return were


def _thresholds(floor: float) -> list[float]:
    """Return the floor and every hundredth above it."""
    return sorted({floor, *(hundredth / 100 for hundredth in range(int(floor * 100) + 1, 101))})


def _refuse_flood(rows: Rows, sample: Double, floor: float) -> None:
    """Raise UsageError where the sample says that there are more pairs than anyone can keep."""
    half = len(sample) // 2
    if not half:
        return
    cosines = (sample[:half].astype(np.float32) @ sample[half:].T.astype(np.float32)).ravel()
    every = (len(rows) - rows.old) * (len(rows) + rows.old) // 2
    expected = (cosines >= limit(floor, rows.dim)).mean() * every
    if expected <= MOST_PAIRS:
        return
    left = {at: (cosines >= limit(at, rows.dim)).mean() * every for at in _thresholds(floor)}
    better = [at for at, pairs in left.items() if pairs <= MOST_PAIRS / 10]
    raise UsageError(
        f"About {expected:,.0f} pairs of these {len(rows):,} images are at a cosine of {floor:g} or more.",
        "So many cannot be kept, and with such vectors this floor is far from a duplicate.",
        f"Give a higher one: --floor {better[0]:.2f} leaves about {left[better[0]]:,.0f}."
        if better
        else f"About {left[1.0]:,.0f} are at 1 all the same: `clipsieve duplicates STORE` finds equal pixels without.",
    )
