"""Arrow schemas of every Parquet file in a store, and the one way to build each.

Float16 fixed-size lists read back in DuckDB as `FLOAT[]`; ids as `UUID`; times are UTC.
Parquet's logical types: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.records import ImageFacts, Outcome, SourceObject, Status

_TIME = pa.timestamp("us", "UTC")

_OBJECT_FIELDS = [
    pa.field("image_id", pa.uuid(), nullable=False),
    pa.field("source", pa.string(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("bucket", pa.string()),
    pa.field("key", pa.string(), nullable=False),
    pa.field("etag", pa.string()),
    pa.field("revision", pa.string(), nullable=False),
    pa.field("size_bytes", pa.int64()),
    pa.field("last_modified", _TIME),
]

LISTING = pa.schema([*_OBJECT_FIELDS, pa.field("run_id", pa.string(), nullable=False)])

THUMBNAILS = pa.schema(
    [
        pa.field("image_id", pa.uuid(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("webp", pa.binary(), nullable=False),
    ]
)

NEIGHBORS = pa.schema(
    [
        pa.field("image_id", pa.uuid(), nullable=False),
        pa.field("neighbor_id", pa.uuid(), nullable=False),
        pa.field("cosine", pa.float32(), nullable=False),
    ]
)

CROWDS = pa.schema(
    [
        pa.field("image_id", pa.uuid(), nullable=False),
        pa.field("member_of", pa.uuid(), nullable=False),
    ]
)

RANKED_IMAGES = pa.schema([pa.field("image_id", pa.uuid(), nullable=False), pa.field("size_bytes", pa.int64())])

RANKED_PAIRS = pa.schema(
    [
        pa.field("better", pa.int32(), nullable=False),
        pa.field("worse", pa.int32(), nullable=False),
        pa.field("cosine", pa.float32(), nullable=False),
        pa.field("tier", pa.int8(), nullable=False),
    ]
)

_BOX = pa.struct([pa.field(name, pa.float32(), nullable=False) for name in ("x0", "y0", "x1", "y1", "confidence")])

MEASUREMENTS = pa.schema(
    [
        pa.field("image_id", pa.uuid(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("boxes", pa.list_(_BOX), nullable=False),
        pa.field("confidence", pa.float32()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        pa.field("error_detail", pa.string()),
        pa.field("measured_at", _TIME, nullable=False),
    ]
)


LIST_METADATA = pa.schema(
    [pa.field("image_id", pa.uuid(), nullable=False), pa.field("source", pa.string()), pa.field("run_id", pa.string())]
)
"""The columns of `metadata/<run>.<source>.parquet` that are ours; after them come the list's own."""


def images_schema(dim: int) -> pa.Schema:
    """Return the schema of `images/<part>.parquet`: one row per image that a run has read, embedded or not."""
    return pa.schema(
        [
            *_OBJECT_FIELDS,
            pa.field("version_id", pa.string()),
            pa.field("sha256", pa.string()),
            pa.field("pixels_sha256", pa.string()),
            pa.field("width_px", pa.int64()),
            pa.field("height_px", pa.int64()),
            pa.field("format", pa.string()),
            pa.field("mode", pa.string()),
            pa.field("exif_orientation", pa.int8()),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error_code", pa.string()),
            pa.field("error_detail", pa.string()),
            pa.field("run_id", pa.string(), nullable=False),
            pa.field("embedded_at", _TIME, nullable=False),
            pa.field("embedding", pa.list_(pa.float16(), dim)),
        ]
    )


def prompts_schema(dim: int) -> pa.Schema:
    """Return the schema of `prompts/<part>.parquet`: one row per text, its vector float32 and L2-normalised."""
    return pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


def scores_schema(concepts: Sequence[str]) -> pa.Schema:
    """Return the schema of `scores/<set>/<part>.parquet`: one row per embedded image, one column per concept."""
    return pa.schema(
        [
            pa.field("image_id", pa.uuid(), nullable=False),
            pa.field("run_id", pa.string(), nullable=False),
            pa.field("uri", pa.string(), nullable=False),
            *(pa.field(name, pa.float32(), nullable=False) for name in concepts),
        ]
    )


@dataclass(frozen=True)
class ImageRow:
    """One row of an images part. `embedding` is `(D,)` float16 and present exactly where the status is embedded."""

    source_object: SourceObject
    outcome: Outcome
    embedded_at: datetime
    facts: ImageFacts | None = None
    version_id: str | None = None
    sha256: str | None = None
    pixels_sha256: str | None = None
    embedding: npt.NDArray[np.float16] | None = None
    thumbnail: bytes | None = None


def objects_table(objects: Sequence[SourceObject], run_id: str) -> pa.Table:
    """Return listing rows."""
    return pa.table([*_object_columns(objects), pa.array([run_id] * len(objects), pa.string())], schema=LISTING)


def images_table(rows: Sequence[ImageRow], run_id: str, dim: int) -> pa.Table:
    """Return image rows in the order given."""
    facts = [row.facts for row in rows]
    columns = [
        *_object_columns([row.source_object for row in rows]),
        [row.version_id for row in rows],
        [row.sha256 for row in rows],
        [row.pixels_sha256 for row in rows],
        [f.width_px if f else None for f in facts],
        [f.height_px if f else None for f in facts],
        [f.format if f else None for f in facts],
        [f.mode if f else None for f in facts],
        [f.exif_orientation if f else None for f in facts],
        [row.outcome.status for row in rows],
        [row.outcome.error_code for row in rows],
        [row.outcome.error_detail for row in rows],
        [run_id] * len(rows),
        [row.embedded_at for row in rows],
        _embedding_column(rows, dim),
    ]
    schema = images_schema(dim)
    arrays = [c if isinstance(c, pa.Array) else pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def embedded_table(
    known: pa.Table, embeddings: npt.NDArray[np.float16], run_id: str, embedded_at: datetime
) -> pa.Table:
    """Return the rows of embedded images: the columns of `known` as they are, null for what it does not say.

    `embeddings` is (N, D) float16, rows L2-normalised, one for each row of `known`.
    """
    rows, dim = embeddings.shape
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel(), pa.float16()), dim)
    same = {"status": str(Status.EMBEDDED), "run_id": run_id, "embedded_at": embedded_at}
    schema = images_schema(dim)
    given = dict(zip(known.column_names, known.columns, strict=True)) | {"embedding": vectors}
    columns = [
        given[f.name] if f.name in given else pa.repeat(pa.scalar(same.get(f.name), f.type), rows) for f in schema
    ]
    return pa.table(columns, schema=schema)


def thumbnails_table(rows: Sequence[ImageRow], run_id: str) -> pa.Table:
    """Return the thumbnails of those rows that have one."""
    kept = [row for row in rows if row.thumbnail is not None]
    columns = [
        _ids([row.source_object for row in kept]),
        pa.array([run_id] * len(kept), pa.string()),
        pa.array([row.thumbnail for row in kept], pa.binary()),
    ]
    return pa.table(columns, schema=THUMBNAILS)


def prompts_table(texts: Sequence[str], vectors: npt.NDArray[np.float32]) -> pa.Table:
    """Return prompt rows; `vectors` is (N, D) float32, rows L2-normalised."""
    dim = vectors.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), dim)
    return pa.table([pa.array(texts, pa.string()), column], schema=prompts_schema(dim))


def embedding_matrix(column: pa.ChunkedArray, dim: int) -> npt.NDArray[np.float32]:
    """Return (N, D) float32 of an embedding column without nulls."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim) for chunk in column.chunks]
    return np.concatenate(chunks).astype(np.float32) if chunks else np.empty((0, dim), np.float32)


def _ids(objects: Sequence[SourceObject]) -> pa.Array:
    return pa.array([o.image_id.bytes for o in objects], pa.uuid())


def _object_columns(objects: Sequence[SourceObject]) -> list[pa.Array]:
    values = [[getattr(o, field.name) for o in objects] for field in _OBJECT_FIELDS[1:]]
    return [_ids(objects), *(pa.array(v, f.type) for v, f in zip(values, _OBJECT_FIELDS[1:], strict=True))]


def _embedding_column(rows: Sequence[ImageRow], dim: int) -> pa.Array:
    matrix = np.zeros((len(rows), dim), np.float16)
    for i, row in enumerate(rows):
        if row.embedding is not None:
            matrix[i] = row.embedding
    missing = pa.array([row.embedding is None for row in rows], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float16()), dim, mask=missing)
