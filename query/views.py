"""The documented views over one encoder of a store; docs/store.md says what each holds."""

import duckdb
import pyarrow as pa

from query.scoring.score_sets import ScoreSet
from sql import load
from store.layout import EncoderStore
from store.parts import damaged
from store.schema import LISTING, THUMBNAILS, images_schema, prompts_schema, scores_schema

VIEWS = ("images", "current_objects", "current_images", "scores", "thumbnails", "prompts")


def create_views(connection: duckdb.DuckDBPyConnection, store: EncoderStore, scored: ScoreSet | None) -> None:
    """Create the views on a connection; `scored` is the score set to show, None where there are no scores."""
    dim = store.encoder.embedding_dim
    score_files = [scored.file(part) for part in scored.parts] if scored else []
    _create_rows(connection, store, "image_rows", store.parts("images"), images_schema(dim))
    _create_rows(connection, store, "listing_rows", store.newest_listings(), LISTING)
    _create_rows(connection, store, "thumbnail_rows", store.parts("thumbnails"), THUMBNAILS)
    _create_rows(connection, store, "prompt_rows", store.parts("prompts"), prompts_schema(dim))
    _create_rows(connection, store, "score_rows", score_files, scores_schema(scored.names if scored else ()))
    for name in ("superseded", *VIEWS):
        connection.execute(load(f"views/{name}"))


def _create_rows(
    connection: duckdb.DuckDBPyConnection, store: EncoderStore, view: str, names: list[str], schema: pa.Schema
) -> None:
    """Create a view of the rows of Parquet files, or of no rows where there are no files."""
    if not names:
        connection.from_arrow(_readable(schema).empty_table()).create(view)
        return
    try:
        connection.read_parquet([store.location.duckdb_path(name) for name in names]).create_view(view)
    except duckdb.Error as error:
        raise damaged(store.location, _unreadable(connection, store, names), error) from error


def _readable(schema: pa.Schema) -> pa.Schema:
    """Return the schema with its float16 lists as the FLOAT[] that DuckDB reads them as."""
    fields = [pa.field(f.name, pa.list_(pa.float32())) if pa.types.is_fixed_size_list(f.type) else f for f in schema]
    return pa.schema([field.with_nullable(nullable=True) for field in fields])


def _unreadable(connection: duckdb.DuckDBPyConnection, store: EncoderStore, names: list[str]) -> str:
    """Return the first file that cannot be read by itself."""
    for name in names:
        try:
            connection.read_parquet([store.location.duckdb_path(name)])
        except duckdb.Error:
            return name
    return names[0]
