"""From a store that lacks pairs to one that has them: which set is to be completed, and by which rounds."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from query.duplicates.neighbors.cells import count_of_cells
from query.duplicates.neighbors.libraries import workers
from query.duplicates.neighbors.work import OnProgress, Work
from query.duplicates.sets import (
    APPROXIMATE,
    EXACT,
    NeighborSet,
    Round,
    read_neighbor_sets,
    remove_neighbor_set,
)
from query.duplicates.words import NeighborWords
from query.scoring.score_sets import image_parts
from store.layout import EncoderStore
from store.parts import damaged

EXACT_UP_TO = 20_000_000_000
"""Pairs to compare. Up to here the exact way takes about half a minute on two cores; beyond, cells are used."""


@dataclass(frozen=True)
class Found:
    """What the store holds now."""

    neighbors: NeighborSet
    pairs: int
    new_images: int  # compared by this call
    new_pairs: int

    @property
    def members(self) -> int:
        """Return how many images are compared through another one, whose embedding they share with very many."""
        return self.neighbors.members


def find_neighbors(
    store: EncoderStore, words: NeighborWords, on_progress: OnProgress = lambda _what, _done, _all: None
) -> Found:
    """Find the pairs that are missing and keep them; `on_progress` is told what is done, how much and of how much."""
    before = target = _target(store, words)
    while one := _next_round(store, target):
        with workers() as pool:
            target = Work(store, target, one, pool, words.memory_bytes, on_progress).run()
    store = store.refreshed()
    # Another process may have added to it meanwhile.
    target = next((one for one in read_neighbor_sets(store) if one.set_id == target.set_id), target)
    _tidy(store, target)
    counts = {name: _rows_of(store, name) for name in target.pair_files}
    new = counts.keys() - set(before.pair_files)
    return Found(target, sum(counts.values()), target.images - before.images, sum(counts[name] for name in new))


def _target(store: EncoderStore, words: NeighborWords) -> NeighborSet:
    """Return the set to complete: one that is there, or a new one."""
    held = [one for one in read_neighbor_sets(store) if one.floor == words.floor]
    rows = sum(_rows_of(store, f"images/{part}.parquet") for part in image_parts(store))
    method = words.method or _method_for(rows, held)
    suitable = [one for one in held if one.method == method]
    name = f"exact-{words.floor:g}"
    if method == APPROXIMATE:
        cells = count_of_cells(rows)
        name = f"cells-{words.floor:g}-{cells}"
        # Those of a store that has doubled since still do; new ones would mean to compare everything again.
        suitable = [one for one in suitable if 2 * int(one.set_id.rsplit("-", 1)[-1]) >= cells]
    return suitable[0] if suitable else NeighborSet(name, words.floor, method)


def _method_for(rows: int, held: list[NeighborSet]) -> str:
    """Return the method that suits the size, counting what an exact set has compared already."""
    old = max((one.images for one in held if one.method == EXACT), default=0)
    return EXACT if (rows - old) * (rows + old) // 2 <= EXACT_UP_TO else APPROXIMATE


def _next_round(store: EncoderStore, target: NeighborSet) -> Round | None:
    """Return the round to do next: one that was interrupted, else one of all parts that are missing."""
    parts = image_parts(store)
    for one in target.rounds:
        if (
            not target.done(one)
            and set(one.parts) <= set(parts)
            and one.round_id == Round.id_of(target.parts, one.parts)
        ):
            return one
    missing = tuple(part for part in parts if part not in set(target.parts))
    return Round(Round.id_of(target.parts, missing), missing) if missing else None


def _tidy(store: EncoderStore, target: NeighborSet) -> None:
    """Remove files of rounds that were given up, and sets that this one says as much as."""
    there = set(image_parts(store))
    wanted = [one for one in target.rounds if target.done(one) or set(one.parts) <= there]
    for name in sorted(target.present - {name for one in wanted for name in target.every_file(one)}):
        store.location.remove(name)
    for other in read_neighbor_sets(store):
        replaced = set(other.parts) <= set(target.parts) and other.floor >= target.floor
        better = target.method == EXACT or other.method == APPROXIMATE
        if other.set_id != target.set_id and replaced and better:
            remove_neighbor_set(store, other)


def _rows_of(store: EncoderStore, name: str) -> int:
    try:
        with store.location.open(name) as file:
            return int(pq.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise damaged(store.location, name, error) from error
