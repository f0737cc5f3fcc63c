"""Asked of pairs that were found before: what is a duplicate of what, at any threshold, without a vector."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from query.duplicates.keepers import Edges, components, removed
from query.duplicates.sets import NeighborSet, compared, described
from query.duplicates.words import DuplicateWords, Ranking, checked
from query.opened import Opened
from query.rules.policies.condition import cannot_be_applied
from sql import load
from store.schema import NEIGHBORS


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
    neighbors = show_involved(opened, words.at)
    with _naming_the_question():
        find_duplicates(opened, words.at, words.groups, ranking)
    connection = opened.connection
    images = _images(connection, ranking)
    tiers = connection.sql(load("duplicates/summary")).to_arrow_table().to_pylist()
    given = {"at_most": 2**62 if at_most is None else at_most}
    rows = connection.sql(load("duplicates/listed"), params=given).to_arrow_table()
    ((groups,),) = connection.execute("select count(distinct duplicate_of) from duplicates").fetchall()
    return Duplicates(words, rows, groups, tuple(tiers), images, neighbors)


def show_involved(opened: Opened, at: float | None) -> NeighborSet | None:
    """Fill the table `involved` with the images that may be duplicates; return the set that the pairs are from.

    The pairs are the view `pair_rows`. Raise NotCompared or UsageError where they cannot answer.
    """
    connection = opened.connection
    if at is None:
        connection.execute(load("duplicates/involved_by_content"))
        return None
    neighbors = compared(opened.store, at)
    paths = [opened.store.location.duckdb_path(name) for name in neighbors.pair_files]
    rows = connection.read_parquet(paths) if paths else connection.from_arrow(NEIGHBORS.empty_table())
    rows.create_view("pair_rows", replace=True)
    ((pairs,),) = connection.execute(load("duplicates/close_pairs"), {"at": at}).fetchall()
    if _are_most(2 * pairs, connection):
        connection.execute(load("duplicates/involved_everyone"))
    else:
        connection.execute(load("duplicates/involved"), {"at": at})
    return neighbors


def find_duplicates(opened: Opened, at: float | None, groups: str, ranking: Ranking) -> None:
    """Fill the table `duplicates`: image_id (removed), duplicate_of (kept), cosine, tier.

    Only images that are involved and that the ranking lets take part are removed, and only these are keepers.
    """
    gone = removed(*ranked_edges(opened, at, groups, ranking))
    table = pa.table({"place": gone.place, "partner": gone.partner, "cosine": gone.cosine})
    opened.connection.from_arrow(table).create_view("removed_places", replace=True)
    opened.connection.execute(load("duplicates/partners_by_content" if at is None else "duplicates/partners"))
    opened.connection.execute("drop view removed_places")


def ranked_edges(opened: Opened, at: float | None, groups: str, ranking: Ranking) -> tuple[Edges, int]:
    """Rank the images involved (table `ranked`); return the pairs that count, and how many images are ranked."""
    connection = opened.connection
    query = ranking.query(with_content=at is None, everyone=_is_everyone_involved(connection))
    connection.execute(f"create or replace temp table ranked as {query}")
    if ranking.leaves_ties:
        _settle_ties(connection)
    if at is None:
        found = connection.sql(load("duplicates/edges_by_content"), params={"groups": groups})
    else:
        connection.execute(load("duplicates/same_content"))
        found = connection.sql(load("duplicates/edges"), params={"groups": groups, "at": at})
    edges = Edges.of(*(column.to_numpy() for column in found.to_arrow_table().columns))
    return edges, len(connection.table("ranked"))


def _is_everyone_involved(connection: duckdb.DuckDBPyConnection) -> bool:
    return _are_most(len(connection.table("involved")), connection)


def _are_most(images: int, connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether so many images are more than half of those that were ever read."""
    return 2 * images > len(connection.table("image_rows"))


def _images(connection: duckdb.DuckDBPyConnection, ranking: Ranking) -> int:
    """Return how many embedded images the newest listings hold."""
    if ranking.where == "true" and _is_everyone_involved(connection):
        return len(connection.table("ranked"))
    ((images,),) = connection.execute(load("duplicates/images")).fetchall()
    return int(images)


def _settle_ties(connection: duckdb.DuckDBPyConnection) -> None:
    """Put the images of the table `ranked` that are the same in all numbers in the order of their URIs."""
    numbers = connection.table("ranked").project("never, _pixels, _bytes, _modified").to_arrow_table()
    tied = np.logical_and.reduce([_repeated(column) for column in numbers.itercolumns()])
    if not tied.any():
        return
    places = np.arange(len(tied))
    firsts = np.maximum.accumulate(np.where(tied, 0, places))
    several = np.bincount(firsts, minlength=1)[firsts] > 1
    table = pa.table({"place": places[several], "first_place": firsts[several]})
    connection.from_arrow(table).create_view("tied", replace=True)
    connection.execute(load("duplicates/settled"))
    connection.execute("drop view tied")


def _repeated(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Return whether each value is that of the row before."""
    values = column.to_numpy()
    return np.concatenate([np.zeros(min(1, len(values)), bool), values[1:] == values[:-1]])


def sweep_duplicates(opened: Opened, thresholds: Sequence[float], words: Mapping[str, str]) -> pa.Table:
    """Return one row per threshold: pairs, what would be removed, and what connected components would have removed.

    Columns: threshold, pairs, removed, groups, largest_group, chained_removed, largest_chain. A group is a kept image
    with its duplicates. Without thresholds, these are the floor of the pairs and every hundredth above it.
    """
    floor = compared(opened.store).floor
    thresholds = sorted(thresholds) or sorted({floor, *(k / 100 for k in range(int(floor * 100) + 1, 101))})
    asked = DuplicateWords(thresholds[0], **words)
    ranking = checked(opened, asked)
    show_involved(opened, asked.at)
    with _naming_the_question():
        edges, images = ranked_edges(opened, asked.at, asked.groups, ranking)
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


@contextmanager
def _naming_the_question() -> Iterator[None]:
    """Raise UsageError in place of DuckDB's error where an order or a condition fails on some image."""
    try:
        yield
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise cannot_be_applied("The order or a condition", error) from error


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
