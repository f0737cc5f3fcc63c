"""Asked of pairs that were found before: what is a duplicate of what, at any threshold, without a vector."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from query.duplicates.ids import ids_of, take
from query.duplicates.keepers import TIERS, Cosines, Edges, Places, components, removed
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
    involved = show_involved(opened, words.at)
    with _naming_the_question():
        groups = find_duplicates(opened, involved, words.groups, ranking)
    connection = opened.connection
    images = _images(connection, involved, ranking)
    tiers = connection.sql(load("duplicates/summary")).to_arrow_table().to_pylist()
    given = {"at_most": 2**62 if at_most is None else at_most}
    rows = connection.sql(load("duplicates/listed"), params=given).to_arrow_table()
    return Duplicates(words, rows, groups, tuple(tiers), images, involved.neighbors)


@dataclass(frozen=True)
class Involved:
    """Which images may be duplicates, as the view `involved` shows them."""

    at: float | None  # how alike; None: of the same content
    neighbors: NeighborSet | None  # the set that the pairs are from, which the view `pair_rows` shows
    everyone: bool  # whether all are shown that were ever read


def show_involved(opened: Opened, at: float | None) -> Involved:
    """Let the view `involved` show the images that may be duplicates.

    Where most are close to another one it shows all: to find out which are not would take longer than to rank them too,
    and change nothing. Raise NotCompared or UsageError where the pairs of the store cannot answer.
    """
    connection, neighbors, close = opened.connection, None, 0
    if at is None:
        connection.execute(load("duplicates/close_by_content"))
    else:
        neighbors = compared(opened.store, at)
        paths = [opened.store.location.duckdb_path(name) for name in neighbors.pair_files]
        rows = connection.read_parquet(paths) if paths else connection.from_arrow(NEIGHBORS.empty_table())
        rows.create_view("pair_rows", replace=True)
        ((close,),) = connection.execute(load("duplicates/close_pairs"), {"at": at}).fetchall()
    everyone = _are_most(2 * close, connection)
    if at is not None and not everyone:
        connection.execute(load("duplicates/close_images"), {"at": at})
    source = "image_rows" if everyone else "close_images"
    connection.table(source).project("image_id").create_view("involved", replace=True)
    return Involved(at, neighbors, everyone)


def find_duplicates(opened: Opened, involved: Involved, groups: str, ranking: Ranking) -> int:
    """Let the view `duplicates` show image_id (removed), duplicate_of (kept), cosine, size_bytes and tier (of TIERS).

    Return how many images are kept for them. Only images that are involved and that the ranking lets take part are
    removed, and only these are keepers.
    """
    gone = removed(*ranked_edges(opened, involved, groups, ranking))
    images = opened.connection.table("in_order").project("image_id, size_bytes").to_arrow_table()
    ids, sizes = ids_of(images["image_id"]), images["size_bytes"].to_numpy()[gone.place]
    rows = {
        "image_id": take(ids, gone.place),
        "duplicate_of": take(ids, gone.partner),
        "cosine": gone.cosine,
        "size_bytes": pa.array(sizes, mask=sizes < 0),
        "tier": pa.DictionaryArray.from_arrays(gone.tier, TIERS),
    }
    shown = opened.connection.from_arrow(pa.table(rows)).project("* replace (tier::varchar as tier)")
    shown.create_view("duplicates", replace=True)
    return int(np.count_nonzero(np.bincount(gone.partner)))


def ranked_edges(opened: Opened, involved: Involved, groups: str, ranking: Ranking) -> tuple[Edges, int]:
    """Rank the images involved (view `ranked`); return the pairs that count, and how many images are ranked."""
    connection = opened.connection
    query = ranking.query(with_content=involved.at is None, everyone=involved.everyone)
    connection.execute(f"create or replace temp table in_order as {query}")
    if ranking.leaves_ties:
        _settle_ties(connection, ranking.tied_by)
    ranked = connection.table("in_order").project(f"rowid as place, *{ranking.constants}")
    ranked.create_view("ranked", replace=True)
    if involved.at is None:
        found = connection.sql(load("duplicates/edges_by_content"), params={"groups": groups})
        edges = Edges.of(*(column.to_numpy() for column in found.to_arrow_table().columns))
    else:
        edges = _edges(connection, involved.at, groups)
    return edges, len(connection.table("in_order"))


def _edges(connection: duckdb.DuckDBPyConnection, at: float, groups: str) -> Edges:
    """Return the pairs of ranked images that count at a threshold; what is of the same content is at 1."""
    found = connection.sql(load("duplicates/edges"), params={"groups": groups, "at": at}).to_arrow_table()
    better, worse, cosine, may_be_same = (column.to_numpy() for column in found.columns)
    cosine, tier = cosine.copy(), np.full(len(cosine), len(TIERS) - 1, np.int8)
    near = np.flatnonzero(may_be_same)
    if len(near):
        number, cosines, tiers = _of_same_content(connection, near, better[near], worse[near], cosine[near])
        cosine[number], tier[number] = cosines, tiers
    close = cosine >= np.float32(at)
    return Edges.of(better[close], worse[close], cosine[close], tier[close])


def _of_same_content(
    connection: duckdb.DuckDBPyConnection, number: Places, better: Places, worse: Places, cosine: Cosines
) -> Iterator[npt.NDArray[Any]]:
    """Return number, cosine and tier of those of these pairs that are of the same bytes or pixels."""
    ids = ids_of(connection.table("in_order").project("image_id").to_arrow_table()["image_id"])
    pairs = {"number": number, "image_id": take(ids, better), "neighbor_id": take(ids, worse), "cosine": cosine}
    connection.from_arrow(pa.table(pairs)).create_view("near_pairs", replace=True)
    same = connection.sql(load("duplicates/same_content")).to_arrow_table()
    connection.execute("drop view near_pairs")
    return (column.to_numpy() for column in same.columns)


def _are_most(images: int, connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether so many images are more than half of those that were ever read."""
    return 2 * images > len(connection.table("image_rows"))


def _images(connection: duckdb.DuckDBPyConnection, involved: Involved, ranking: Ranking) -> int:
    """Return how many embedded images the newest listings hold."""
    if ranking.where == "true" and involved.everyone:
        return len(connection.table("in_order"))
    ((images,),) = connection.execute(load("duplicates/images")).fetchall()
    return int(images)


def _settle_ties(connection: duckdb.DuckDBPyConnection, tied_by: str) -> None:
    """Put the images of the table `in_order` that are the same in these columns in the order of their URIs."""
    numbers = connection.table("in_order").project(tied_by).to_arrow_table()
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
    involved = show_involved(opened, asked.at)
    with _naming_the_question():
        edges, images = ranked_edges(opened, involved, asked.groups, ranking)
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
