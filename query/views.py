"""The documented views over one encoder of a store; docs/store.md says what each holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from query.duplicates.sets import shown_neighbors
from query.rules.policies.condition import quoted
from query.scoring.score_sets import ScoreSet
from sql import load, names
from store.layout import EncoderStore
from store.parts import damaged
from store.schema import (
    CROWDS,
    LIST_METADATA,
    LISTING,
    MEASUREMENTS,
    NEIGHBORS,
    THUMBNAILS,
    images_schema,
    prompts_schema,
    scores_schema,
)

VIEWS = (
    *("images", "current_objects", "current_images", "groups"),
    *("scores", "score_values", "thumbnails", "prompts", "measurements", "neighbors", "crowds", "metadata"),
)


@dataclass(frozen=True)
class Rows:
    """What a view of rows reads: Parquet files of one schema, somewhere below one folder."""

    folder: str
    files: Sequence[str]
    schema: pa.Schema
    own_columns: bool = False  # besides those of the schema each file may have columns that no other has


def rows_of(store: EncoderStore, scored: ScoreSet | None) -> dict[str, Rows]:
    """Return the views of rows as they lie in files, which the documented views are made of."""
    dim = store.encoder.embedding_dim
    score_files = [scored.file(part) for part in scored.parts] if scored else []
    score_folder = f"scores/{scored.set_id}" if scored else "scores"
    neighbors = shown_neighbors(store)
    return {
        "image_rows": Rows("images", store.parts("images"), images_schema(dim)),
        "listing_rows": Rows("listings", store.newest_listings(), LISTING),
        "thumbnail_rows": Rows("thumbnails", store.parts("thumbnails"), THUMBNAILS),
        "prompt_rows": Rows("prompts", store.parts("prompts"), prompts_schema(dim)),
        "score_rows": Rows(score_folder, score_files, scores_schema(scored.names if scored else ())),
        "measurement_rows": Rows("measurements", store.parts("measurements"), MEASUREMENTS),
        "neighbor_rows": Rows(neighbors.folder, neighbors.pair_files, NEIGHBORS),
        "crowd_rows": Rows(neighbors.crowd_folder, neighbors.crowd_files, CROWDS),
        "metadata_rows": Rows("metadata", store.parts("metadata"), LIST_METADATA, own_columns=True),
    }


def create_views(connection: duckdb.DuckDBPyConnection, store: EncoderStore, scored: ScoreSet | None) -> None:
    """Create the views on a connection; `scored` is the score set to show, None where there are no scores."""
    sources = rows_of(store, scored)
    for view, rows in sources.items():
        _create_rows(connection, store, view, rows)
    listings, lists = (len(sources[name].files) for name in ("listing_rows", "metadata_rows"))
    ((runs,),) = connection.execute(load("views/runs")).fetchall()
    # Nothing replaces a row of the only run; no other listing covers a single one, or names its objects again.
    for name, several in (("superseded", runs > 1), ("covered", listings > 1), ("relisted", listings > 1)):
        if several:
            _create_replaced(connection, name)
        else:
            connection.execute(load(f"views/no_{name}"))
    cheapest = {"metadata": ("no_metadata", "one_metadata", "metadata")[min(lists, 2)]}
    for name in VIEWS:
        connection.execute(load(f"views/{cheapest.get(name, name)}"))
    connection.execute(load("views/measured" if sources["measurement_rows"].files else "views/no_measured"))
    create_list_columns(connection)
    for name in names("macros"):
        connection.execute(load(name))


def _create_replaced(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Create the table of what counts no longer, or, where there is nothing of it, a view that costs no join."""
    connection.execute(load(f"views/{name}"))
    if not connection.table(name).limit(1).fetchall():
        connection.execute(f"drop table {name}")
        connection.execute(load(f"views/no_{name}"))


def _create_rows(connection: duckdb.DuckDBPyConnection, store: EncoderStore, view: str, rows: Rows) -> None:
    """Create a view of the rows of Parquet files, or of no rows where there are no files."""
    if not rows.files:
        create_empty(connection, view, rows.schema)
        return
    try:
        _with_every_column(connection, store, rows).create_view(view)
    except duckdb.Error as error:
        raise damaged(store.location, _unreadable(connection, store, rows.files), error) from error


def _with_every_column(
    connection: duckdb.DuckDBPyConnection, store: EncoderStore, rows: Rows
) -> duckdb.DuckDBPyRelation:
    """Return the rows; a column that came later than the first or the last file is null where a file lacks it.

    DuckDB takes the columns of the first file for those of all, unless it reads the footer of every file beforehand.
    """
    paths = [store.location.duckdb_path(name) for name in rows.files]
    found = connection.read_parquet(paths)
    if rows.own_columns:
        return found if len(paths) == 1 else connection.read_parquet(paths, union_by_name=True)
    if {*rows.schema.names} <= {*found.columns} & {*connection.read_parquet(paths[-1:]).columns}:
        return found
    found = connection.read_parquet(paths, union_by_name=True)
    empty = connection.from_arrow(_readable(rows.schema).empty_table())
    later = [(name, kind) for name, kind in zip(empty.columns, empty.types, strict=True) if name not in found.columns]
    nulls = (duckdb.ConstantExpression(None).cast(kind).alias(name) for name, kind in later)
    return found.select(duckdb.StarExpression(), *nulls)


def create_list_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the view of `metadata` for `candidates`: `list_` before each name, so no list can take a name of ours."""
    ours = {*LIST_METADATA.names}
    renamed = {f"list_{name}" for name in ours}  # a list's own columns of our names, as they were kept
    columns = {
        name: name if name.lower() in renamed else f"list_{name}"
        for name in connection.table("metadata").columns
        if name.lower() not in ours
    }
    shown = ["image_id", *(f"{quoted(name)} as {quoted(said)}" for name, said in columns.items())]
    connection.execute(f"create view list_columns as select {', '.join(shown)} from metadata")  # noqa: S608  # quoted


def create_empty(connection: duckdb.DuckDBPyConnection, view: str, schema: pa.Schema) -> None:
    """Create a table that stands for rows of which there is no file yet."""
    connection.from_arrow(_readable(schema).empty_table()).create(view)


def _readable(schema: pa.Schema) -> pa.Schema:
    """Return the schema with its float16 lists as the FLOAT[] that DuckDB reads them as."""
    fields = [pa.field(f.name, pa.list_(pa.float32())) if pa.types.is_fixed_size_list(f.type) else f for f in schema]
    return pa.schema([field.with_nullable(nullable=True) for field in fields])


def _unreadable(connection: duckdb.DuckDBPyConnection, store: EncoderStore, names: Sequence[str]) -> str:
    """Return the first file that cannot be read by itself."""
    for name in names:
        try:
            connection.read_parquet([store.location.duckdb_path(name)])
        except duckdb.Error:
            return name
    return names[0]
