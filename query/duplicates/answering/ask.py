"""Asked of pairs that were found before: what is a duplicate of what, at any threshold, without a vector."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from query.duplicates.answering.graph import (
    Graph,
    Involved,
    count_images,
    ranked_graph,
    ranked_images,
    show_involved,
    tell_apart,
)
from query.duplicates.answering.keepers import TIERS, Removed
from query.duplicates.answering.ranked import ranked_before
from query.duplicates.ids import ids_of, numbers, take
from query.duplicates.sets import NeighborSet, compared, described
from query.duplicates.words import DuplicateWords, Ranking, checked
from query.opened import Opened
from query.rules.policies.condition import cannot_be_applied
from sql import load


@dataclass(frozen=True)
class Duplicates:
    """An answer. `rows` is one row per removed image, or some of them; see `sql/duplicates/listed.sql`."""

    words: DuplicateWords
    rows: pa.Table
    groups: int  # kept images that something is a duplicate of
    tiers: tuple[dict[str, Any], ...]  # tier, removed, size_bytes
    images: int  # embedded images of the newest listings
    neighbors: NeighborSet | None  # where the pairs come from; None where none were asked for

    @property
    def removed(self) -> int:
        """Return how many images go."""
        return sum(tier["removed"] for tier in self.tiers)

    @property
    def asked(self) -> str:
        """Return how alike duplicates are, and how sure it is that all are found, as a part of a sentence."""
        if self.words.at is None or self.neighbors is None:
            return "the same bytes or the same pixels"
        return f"a cosine of {self.words.at:g} or more, pairs {described(self.neighbors, self.words.at)}"


def duplicates(opened: Opened, words: DuplicateWords, at_most: int | None = None) -> Duplicates:
    """Return what is a duplicate of what; `at_most` so many rows of it, those that are the least alike."""
    ranking = checked(opened, words)
    connection = opened.connection
    neighbors: NeighborSet | None
    if known := ranked_before(opened, words):
        neighbors, images = known.neighbors, known.images
        groups = _show(connection, known.graph.removed(), known.order)
    else:
        involved = show_involved(opened, words.at)
        with _naming_the_question():
            groups = find_duplicates(opened, involved, words.groups, ranking)
        neighbors, images = involved.neighbors, count_images(opened, involved, ranking)
    tiers = connection.sql(load("duplicates/summary")).to_arrow_table().to_pylist()
    given = {"at_most": 2**62 if at_most is None else at_most}
    rows = connection.sql(load("duplicates/listed"), params=given).to_arrow_table()
    return Duplicates(words, rows, groups, tuple(tiers), images, neighbors)


def find_duplicates(opened: Opened, involved: Involved, groups: str, ranking: Ranking) -> int:
    """Let the view `duplicates` show image_id (removed), duplicate_of (kept), cosine, size_bytes and tier (of TIERS).

    Return how many images are kept for them. Only images that are involved and that the ranking lets take part are
    removed, and only these are keepers.
    """
    graph = ranked_graph(opened, involved, groups, ranking)
    gone = tell_apart(opened.connection, graph, graph.removed())
    return _show(opened.connection, gone, ranked_images(opened.connection))


def _show(connection: duckdb.DuckDBPyConnection, gone: Removed, order: pa.Table) -> int:
    """Let the view `duplicates` show what goes of the images in this order; return how many are kept for them."""
    ids = ids_of(order["image_id"])
    rows = {
        "image_id": take(ids, gone.place),
        "duplicate_of": take(ids, gone.partner),
        "cosine": numbers(gone.cosine),
        "size_bytes": numbers(order["size_bytes"].to_numpy()[gone.place]),
        "tier": pa.DictionaryArray.from_arrays(numbers(gone.tier), TIERS),
    }
    shown = connection.from_arrow(pa.table(rows))
    shown = shown.project("* replace (nullif(size_bytes, -1) as size_bytes, tier::varchar as tier)")
    shown.create_view("duplicates", replace=True)
    keeps = np.zeros(len(ids), bool)
    keeps[gone.partner] = True
    return int(np.count_nonzero(keeps))


def sweep_duplicates(opened: Opened, thresholds: Sequence[float], words: Mapping[str, str]) -> pa.Table:
    """Return one row per threshold: pairs, what would be removed, and what connected components would have removed.

    Columns: threshold, pairs, removed, groups, largest_group, chained_removed, largest_chain. A group is a kept image
    with its duplicates. Without thresholds, these are the floor of the pairs and every hundredth above it.
    """
    floor = compared(opened.store).floor
    thresholds = sorted(thresholds) or sorted({floor, *(k / 100 for k in range(int(floor * 100) + 1, 101))})
    asked = DuplicateWords(thresholds[0], **words)
    ranking = checked(opened, asked)
    if known := ranked_before(opened, asked):
        graph = known.graph
    else:
        involved = show_involved(opened, asked.at)
        with _naming_the_question():
            graph = ranked_graph(opened, involved, asked.groups, ranking)
    return pa.Table.from_pylist([_counted(graph.at(threshold), threshold) for threshold in thresholds], SWEPT)


SWEPT = pa.schema(
    [
        pa.field("threshold", pa.float32()),
        *(
            pa.field(name, pa.int64())
            for name in ("pairs", "removed", "groups", "largest_group", "chained_removed", "largest_chain")
        ),
    ]
)


@contextmanager
def _naming_the_question() -> Iterator[None]:
    """Raise UsageError in place of DuckDB's error where an order or a condition fails on some image."""
    try:
        yield
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise cannot_be_applied("The order or a condition", error) from error


def _counted(graph: Graph, threshold: float) -> dict[str, Any]:
    gone = graph.removed()
    _, sizes = np.unique(gone.partner, return_counts=True)
    chains = graph.chains
    return {
        "threshold": threshold,
        "pairs": graph.pairs,
        "removed": len(gone.place),
        "groups": len(sizes),
        "largest_group": int(sizes.max(initial=-1)) + 1,
        "chained_removed": int((chains - 1).sum()),
        "largest_chain": int(chains.max(initial=0)),
    }
