"""Asked of pairs that were found before: what is a duplicate of what, at any threshold, without a vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from query.duplicates.keepers import Edges, components, removed
from query.duplicates.sets import NeighborSet, compared, described
from query.duplicates.words import DuplicateWords, Ranking, checked
from query.opened import Opened
from sql import load
from store.schema import NEIGHBORS


@dataclass(frozen=True)
class Duplicates:
    """An answer. `rows` is one row per removed image; see `sql/duplicates/listed.sql`."""

    words: DuplicateWords
    rows: pa.Table
    tiers: tuple[dict[str, Any], ...]  # tier, removed, size_bytes
    images: int  # embedded images of the newest listings
    neighbors: NeighborSet | None  # where the pairs come from; None where none were asked for

    @property
    def groups(self) -> int:
        """Return how many kept images something is a duplicate of."""
        return len(self.rows["duplicate_of"].unique())

    @property
    def asked(self) -> str:
        """Return how alike duplicates are, and how sure it is that all are found, as a part of a sentence."""
        if self.words.at is None or self.neighbors is None:
            return "the same bytes or the same pixels"
        return f"a cosine of {self.words.at:g} or more, pairs {described(self.neighbors, self.words.at)}"


def find_duplicates(opened: Opened, words: DuplicateWords, eligible: str = "") -> NeighborSet | None:
    """Fill the table `duplicates`: image_id (removed), duplicate_of (kept, among the same images), cosine, tier.

    `eligible` names a table or view of this connection with `image_id` and `never_removed` (boolean): only its images
    take part, as removed ones and as keepers; those that are never removed are keepers before all others. A policy
    gives here what no other rule removes, and marks what a rule keeps. Return the set that the pairs are from.
    """
    neighbors, edges, images = ranked_edges(opened, words, eligible)
    gone = removed(edges, images)
    table = pa.table({"place": gone.place, "partner": gone.partner, "cosine": gone.cosine})
    opened.connection.from_arrow(table).create_view("removed_places", replace=True)
    opened.connection.execute(load("duplicates/partners"))
    opened.connection.execute("drop view removed_places")
    return neighbors


def duplicates(opened: Opened, words: DuplicateWords) -> Duplicates:
    """Return what is a duplicate of what."""
    neighbors = find_duplicates(opened, words)
    connection = opened.connection
    ((images,),) = connection.execute("select count(*) from candidates").fetchall()
    tiers = connection.sql(load("duplicates/summary")).to_arrow_table().to_pylist()
    rows = connection.sql(load("duplicates/listed")).to_arrow_table()
    return Duplicates(words, rows, tuple(tiers), images, neighbors)


def ranked_edges(opened: Opened, words: DuplicateWords, eligible: str = "") -> tuple[NeighborSet | None, Edges, int]:
    """Rank the images involved (table `ranked`) and return the pairs that count, and how many images are ranked."""
    ranking = checked(opened, words)
    connection = opened.connection
    neighbors = None
    if words.at is None:
        connection.execute(load("duplicates/involved_by_content"))
        _rank(connection, ranking, eligible)
        rows = connection.sql(load("duplicates/edges_by_content"), params={"groups": words.groups})
    else:
        neighbors = compared(opened.store, words.at)
        _show_pairs(opened, neighbors)
        connection.execute(load("duplicates/involved"), {"at": words.at})
        _rank(connection, ranking, eligible)
        rows = connection.sql(load("duplicates/edges"), params={"at": words.at, "groups": words.groups})
    found = rows.fetchnumpy()
    edges = Edges(found["better"].astype(np.int64), found["worse"].astype(np.int64), found["cosine"])
    return neighbors, edges, int(connection.execute("select count(*) from ranked").fetchall()[0][0])


def sweep_duplicates(opened: Opened, thresholds: Sequence[float], words: Mapping[str, str]) -> pa.Table:
    """Return one row per threshold: pairs, what would be removed, and what connected components would have removed.

    Columns: threshold, pairs, removed, groups, largest_group, chained_removed, largest_chain. A group is a kept image
    with its duplicates. Without thresholds, these are the floor of the pairs and every hundredth above it.
    """
    floor = compared(opened.store).floor
    thresholds = sorted(thresholds) or sorted({floor, *(k / 100 for k in range(int(floor * 100) + 1, 101))})
    _, edges, images = ranked_edges(opened, DuplicateWords(thresholds[0], **words))
    return pa.Table.from_pylist([_counted(edges.at(threshold), images, threshold) for threshold in thresholds], SWEPT)


SWEPT = pa.schema(
    [
        pa.field("threshold", pa.float32()),
        *(
            pa.field(name, pa.int64())
            for name in ("pairs", "removed", "groups", "largest_group", "chained_removed", "largest_chain")
        ),
    ]
)


def _counted(edges: Edges, images: int, threshold: float) -> dict[str, Any]:
    gone = removed(edges, images)
    _, sizes = np.unique(gone.partner, return_counts=True)
    chains = np.bincount(components(edges, images), minlength=1)
    chains = chains[chains > 1]
    return {
        "threshold": threshold,
        "pairs": len(edges),
        "removed": len(gone.place),
        "groups": len(sizes),
        "largest_group": int(sizes.max(initial=-1)) + 1,
        "chained_removed": int((chains - 1).sum()),
        "largest_chain": int(chains.max(initial=0)),
    }


def _rank(connection: duckdb.DuckDBPyConnection, ranking: Ranking, eligible: str) -> None:
    query = ranking.query(eligible)
    connection.execute(f"create or replace temp table ranked as {query}")


def _show_pairs(opened: Opened, neighbors: NeighborSet) -> None:
    """Create the view `pair_rows` over the files of one set."""
    paths = [opened.store.location.duckdb_path(name) for name in neighbors.pair_files]
    connection = opened.connection
    rows = connection.read_parquet(paths) if paths else connection.from_arrow(NEIGHBORS.empty_table())
    rows.create_view("pair_rows", replace=True)
