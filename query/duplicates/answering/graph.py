"""The graph that an answer is read from: ranked images, and the pairs of them that count."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from query.duplicates.answering.crowds import Crowded
from query.duplicates.answering.keepers import TIERS, Cosines, Edges, Places, Removed, components, removed
from query.duplicates.ids import ids_of, take
from query.duplicates.sets import NeighborSet, compared
from query.duplicates.words import Ranking
from query.opened import Opened
from sql import load
from store.schema import NEIGHBORS

SAME_FROM = 0.99
"""Images of the same content are looked for among pairs from this cosine on."""

TABLES = ("close_images", "in_order", "crowd_images", "crowd_parts")
"""What is made on a connection on the way to an answer."""


@dataclass(frozen=True)
class Graph:
    """Images by rank, pairs that count, and the images of crowds, whose pairs are not among these."""

    edges: Edges  # where there are crowds, also those of which neither may be removed
    images: int
    crowded: Crowded | None

    def at(self, threshold: float) -> "Graph":
        """Return the graph of the pairs at this cosine or more."""
        return replace(self, edges=self.edges.at(threshold))

    def removed(self) -> Removed:
        """Return what goes."""
        if self.crowded is None:
            return removed(self.edges, self.images)
        gone = removed(self.crowded.removable(self.edges), self.images)
        return self.crowded.completed(self.edges, gone)

    @property
    def pairs(self) -> int:
        """Return how many pairs count."""
        return len(self.edges) if self.crowded is None else self.crowded.pairs(self.edges)

    @property
    def chains(self) -> npt.NDArray[np.int64]:
        """Return the sizes of connected components of more than one image."""
        if self.crowded is None:
            sizes = np.bincount(components(self.edges, self.images), minlength=1)
        else:
            sizes = self.crowded.chains(self.edges)
        return sizes[sizes > 1]


@dataclass(frozen=True)
class Involved:
    """Which images may be duplicates, as the view `involved` shows them."""

    at: float | None  # how alike; None: of the same content
    neighbors: NeighborSet | None  # the set that the pairs are from, which the view `pair_rows` shows
    everyone: bool  # whether all are shown that were ever read
    crowded: bool  # whether there are crowds, whose images the table `crowd_images` holds


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
    crowded = _show_crowds(opened, neighbors) if neighbors is not None else 0
    everyone = _are_most(2 * close + crowded, connection)
    if at is not None and not everyone:
        connection.execute(load("duplicates/close_images"), {"at": at})
        if crowded:
            connection.execute(load("duplicates/close_in_crowds"))
    source = "image_rows" if everyone else "close_images"
    connection.table(source).project("image_id").create_view("involved", replace=True)
    return Involved(at, neighbors, everyone, bool(crowded))


def _show_crowds(opened: Opened, neighbors: NeighborSet) -> int:
    """Fill the table `crowd_images` where there are crowds; return how many images are in them."""
    if not neighbors.crowd_files:
        return 0
    paths = [opened.store.location.duckdb_path(name) for name in neighbors.crowd_files]
    opened.connection.read_parquet(paths).create_view("member_rows", replace=True)
    opened.connection.execute(load("duplicates/crowd_images"))
    return len(opened.connection.table("crowd_images"))


def ranked_graph(opened: Opened, involved: Involved, groups: str, ranking: Ranking) -> Graph:
    """Rank the images involved (view `ranked`); return them with the pairs that count."""
    connection = opened.connection
    query = ranking.query(with_content=involved.at is None, everyone=involved.everyone)
    connection.execute(f"create or replace temp table in_order as {query}")
    if ranking.leaves_ties:
        _settle_ties(connection, ranking.tied_by)
    ranked = connection.table("in_order").project(f"rowid as place, *{ranking.constants}")
    ranked.create_view("ranked", replace=True)
    if involved.at is not None:
        return near_graph(connection, involved.at, groups, crowded=involved.crowded)
    found = connection.sql(load("duplicates/edges_by_content"), params={"groups": groups})
    return Graph(Edges.of(*_columns(found)), len(connection.table("in_order")), None)


def near_graph(connection: duckdb.DuckDBPyConnection, at: float, groups: str, *, crowded: bool) -> Graph:
    """Return the graph of the ranked images by the pairs of `pair_rows`, and with the crowds of `crowd_images`."""
    images = len(connection.table("in_order"))
    if not crowded:
        return Graph(_edges(connection, at, groups, connection.table("ranked")), images, None)
    found = _crowded(connection, at, groups)
    edges = _edges(connection, at, groups, connection.sql(load("duplicates/standing")))
    equal = connection.sql(load("duplicates/crowd_edges"), params={"groups": groups})
    return Graph(edges.and_equal(*_columns(equal)), images, found)


def _crowded(connection: duckdb.DuckDBPyConnection, at: float, groups: str) -> Crowded:
    """Return the ranked images of crowds."""
    connection.execute(load("duplicates/crowd_parts"), {"at": at, "groups": groups})
    parts = connection.table("crowd_parts").project("place, crowd, never, images, stands")
    best, crowd, never, size, stands = _columns(parts)
    ranked = connection.table("ranked").project("never, group_name").to_arrow_table()
    place, part = _columns(connection.sql(load("duplicates/crowded")))
    group = ranked["group_name"].combine_chunks().dictionary_encode().indices.fill_null(-1)
    return Crowded(
        images=len(ranked),
        groups=groups,
        place=place,
        part=part,
        best=best,
        crowd=crowd.astype(np.int64),
        never=never.astype(bool),
        size=size,
        stands=stands.astype(bool),
        protected=ranked["never"].to_numpy().astype(bool),
        group=group.to_numpy().astype(np.int64),
    )


def _edges(connection: duckdb.DuckDBPyConnection, at: float, groups: str, standing: duckdb.DuckDBPyRelation) -> Edges:
    """Return the pairs of what stands that count at a threshold; what is of the same content is at 1."""
    standing.create_view("standing", replace=True)
    found = connection.sql(load("duplicates/edges"), params={"groups": groups, "at": at}).to_arrow_table()
    better, worse, cosine, may_be_same = (column.to_numpy() for column in found.columns)
    cosine, tier = cosine.copy(), np.full(len(cosine), len(TIERS) - 1, np.int8)
    near = np.flatnonzero(may_be_same)
    if len(near):
        number, cosines, tiers = _of_same_content(connection, near, better[near], worse[near], cosine[near])
        cosine[number], tier[number] = cosines, tiers
    close = cosine >= np.float32(at)
    return Edges.of(better[close], worse[close], cosine[close], tier[close])


def _columns(found: duckdb.DuckDBPyRelation) -> Iterator[npt.NDArray[Any]]:
    """Return columns of numbers."""
    return (column.to_numpy() for column in found.to_arrow_table().columns)


def ranked_images(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return image_id and size_bytes (-1: unknown) of the ranked images, the best one first."""
    return connection.table("in_order").project("image_id, size_bytes").to_arrow_table()


def count_images(opened: Opened, involved: Involved, ranking: Ranking) -> int:
    """Return how many embedded images the newest listings hold, once the images involved are ranked."""
    if ranking.where == "true" and involved.everyone:
        return len(opened.connection.table("in_order"))
    ((images,),) = opened.connection.execute(load("duplicates/images")).fetchall()
    return int(images)


def tell_apart(connection: duckdb.DuckDBPyConnection, graph: Graph, gone: Removed) -> Removed:
    """Return what goes with the tiers of images of crowds, for which contents were not asked about yet."""
    if graph.crowded is None:
        return gone
    asked = graph.crowded.of_crowds(gone)
    asked = asked[gone.cosine[asked] >= np.float32(SAME_FROM)]
    if not len(asked):
        return gone
    pairs = (gone.partner[asked], gone.place[asked], gone.cosine[asked])
    number, cosines, tiers = _of_same_content(connection, asked, *pairs)
    cosine, tier = gone.cosine.copy(), gone.tier.copy()
    cosine[number], tier[number] = cosines, tiers
    return replace(gone, cosine=cosine, tier=tier)


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
