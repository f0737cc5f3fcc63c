"""Pairs as the usual ranking orders them, kept beside the pairs: a question in the usual words then joins nothing.

    ranked/<set>/<state>.images.parquet   image_id, size_bytes: the images that are listed, the best first
    ranked/<set>/<state>.pairs.parquet    better, worse, cosine, tier: places in that order; what is the same is at 1

A state is a hash of the names of the files that order and pairs are read from, none of which ever changes. Where the
sources were listed anew since, the state is another one, and the question is answered from the pairs as they lie. The
files are DERIVED: `clipsieve neighbors` writes them.
"""

import hashlib
import json
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa
from duckdb.sqltypes import FLOAT

from query.duplicates.answering.graph import Graph, count_images, ranked_graph, ranked_images, show_involved
from query.duplicates.answering.keepers import Edges
from query.duplicates.sets import NeighborSet, compared, read_neighbor_sets
from query.duplicates.words import DuplicateWords, checked
from query.opened import Opened
from query.scoring.score_sets import image_parts
from store.layout import EncoderStore
from store.parts import parquet_bytes
from store.schema import RANKED_IMAGES, RANKED_PAIRS

_BYTES_EACH = 100
"""What an image or a pair takes at most in memory while both are ranked."""

_COUNT = b"clipsieve.images"
"""Where the file of the images says how many there are in all."""

_FORM = 1
"""Another number where the same files are ranked otherwise."""


@dataclass(frozen=True)
class Ranked:
    """The graph of the usual question from some cosine on, and what an answer tells of its images."""

    neighbors: NeighborSet
    graph: Graph
    order: pa.Table  # image_id and size_bytes (-1: unknown), by place
    images: int  # embedded images of the newest listings, in the graph or not


def ranked_before(opened: Opened, words: DuplicateWords) -> Ranked | None:
    """Return what `keep_ranked` has kept of the store as it is now; None where words or state are others.

    Raise NotCompared or UsageError where the pairs of the store cannot answer.
    """
    if words.at is None or replace(words, at=None) != DuplicateWords():
        return None
    neighbors = compared(opened.store, words.at)
    names = _names(opened.store, neighbors)
    if not {*names} <= {*opened.store.names}:
        return None
    images, pairs = (opened.store.location.duckdb_path(name) for name in names)
    connection = opened.connection
    close_enough = duckdb.ColumnExpression("cosine") >= duckdb.ConstantExpression(words.at).cast(FLOAT)
    try:
        said = {key: value for _, key, value in connection.table_function("parquet_kv_metadata", [images]).fetchall()}
        listed = connection.read_parquet(images).project("image_id, coalesce(size_bytes, -1) as size_bytes")
        order = listed.to_arrow_table()
        close = connection.read_parquet(pairs).filter(close_enough).to_arrow_table()
    except duckdb.Error:
        if {*names} <= {*opened.store.refreshed().names}:
            raise
        return None  # another process has just kept a newer state in its place
    edges = Edges(*(column.to_numpy() for column in close.columns))
    return Ranked(neighbors, Graph(edges, order.num_rows, None), order, int(said[_COUNT]))


def keep_ranked(opened: Opened, neighbors: NeighborSet, memory_bytes: int) -> None:
    """Rank the pairs of a set by the usual order and keep that; drop what was kept of states that are over.

    Nothing is kept of more images and pairs than the memory allows, nor of a set with crowds, whose pairs lie nowhere.
    """
    store, names = opened.store, _names(opened.store, neighbors)
    for name in {*store.parts("ranked")}.difference(*(_names(store, one) for one in read_neighbor_sets(store))):
        store.location.remove(name)
    compared_all = {*image_parts(store)} <= {*neighbors.parts}
    if {*names} <= {*store.names} or neighbors.members or not compared_all:
        return
    words = DuplicateWords(neighbors.floor)
    ranking, involved = checked(opened, words), show_involved(opened, words.at)
    connection = opened.connection
    rows = sum(len(connection.table(view)) for view in ("involved", "pair_rows"))
    if involved.neighbors != neighbors or rows * _BYTES_EACH > memory_bytes:
        return
    edges = ranked_graph(opened, involved, words.groups, ranking).edges
    order, count = ranked_images(connection), count_images(opened, involved, ranking)
    sizes = order["size_bytes"].to_numpy()
    columns = [order["image_id"], pa.array(sizes, mask=sizes < 0)]
    images = pa.table(columns, schema=RANKED_IMAGES.with_metadata({_COUNT: str(count).encode()}))
    pairs = pa.table([edges.better, edges.worse, edges.cosine, edges.tier], schema=RANKED_PAIRS)
    for name, table in zip(names, (images, pairs), strict=True):
        store.location.write(name, parquet_bytes(table))


def _names(store: EncoderStore, neighbors: NeighborSet) -> tuple[str, str]:
    """Return the names of the files of the store's state, whether they are there or not."""
    state = [_FORM, store.newest_listings(), store.parts("images"), neighbors.pair_files, neighbors.crowd_files]
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    folder = f"ranked/{neighbors.set_id}"
    return f"{folder}/{digest}.images.parquet", f"{folder}/{digest}.pairs.parquet"
