"""A store of any size without pictures: vectors near a common direction, as CLIP's are, and rows as S3 would list them.

    python -m bench.synthetic PLACE [--images 1_000_000]

Everything is written by the store's own writers, in parts of 50,000 rows; only its content is drawn from a seed. A
million images take 1.2 GB and about 40 s.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.machine import describe, peak_memory_mb
from query.scoring.concepts import Concept, shipped_concepts
from query.scoring.score_sets import ScoreSet, set_of, write_set
from store.encoder import Encoder
from store.layout import EncoderStore, Store
from store.listings import ListingWriter
from store.location import FolderLocation
from store.parts import parquet_bytes
from store.schema import LISTING, images_schema, scores_schema

DIM = 512
PART_ROWS = 50_000
SOURCE = "s3://bench-photos/in/"
RUN = "20260101T120000Z-000001"
COMMON = 0.79
"""The common direction's share: the median cosine of two random images is its square, 0.63 in real CLIP vectors."""

# One row per image of a part, in the order in which a job might have finished them, not in that of their URIs.
_ROWS = """
    with numbers as (select range as i from range($first, $first + $rows)),
    named as (
        select
            i,
            format('in/{:05d}/{:08d}.jpg', i // 1000, i) as key,
            md5(i::varchar) as etag
        from numbers
    ),
    addressed as (select *, 's3://bench-photos/' || key as uri from named)
    select
        sha256(uri || chr(10) || etag)[1:32]::uuid as image_id,
        $source as source,
        uri,
        'bench-photos' as bucket,
        key,
        etag,
        etag as revision,
        (20_000 + hash(i) % 400_000)::bigint as size_bytes,
        timestamptz '2025-06-01 00:00:00Z' + to_seconds((i % 10_000_000)::bigint) as last_modified,
        null as version_id,
        sha256(etag) as sha256,
        sha256('pixels of ' || etag) as pixels_sha256,
        (200 + hash(i + 1) % 3_800)::bigint as width_px,
        (200 + hash(i + 2) % 2_800)::bigint as height_px,
        'JPEG' as format,
        'RGB' as mode,
        null as exif_orientation,
        'embedded' as status,
        null as error_code,
        null as error_detail,
        $run as run_id,
        timestamptz '2026-01-01 12:00:00Z' + to_seconds(i // 100) as embedded_at
    from addressed
    order by $shuffled * hash(i), i
"""


def encoder() -> Encoder:
    """Return an encoder's record with D = 512."""
    return Encoder(
        model_name="Synthetic",
        pretrained="bench",
        weights_origin="pretrained",
        torch_version="0",
        pillow_version="0",
        architecture_sha256="a" * 64,
        weights_sha256="b" * 64,
        embedding_dim=DIM,
        logit_scale=100.0,
        precision="fp32",
        preprocessing={"size": 224},
        decode_mode="none",
        open_clip_version="3.3.0",
    )


Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float16]]
"""Gives (rows, D) float16 unit vectors."""


def write_store(place: Path, images: int, seed: int = 0, draw: Draw | None = None) -> EncoderStore:
    """Write a store with one listing, its parts of images, and cached scores of every shipped concept of prompts."""
    draw = draw or vectors
    store = Store.create(FolderLocation(place)).add_encoder(encoder())
    rng = np.random.default_rng(seed)
    schema = images_schema(DIM)
    schema = schema.remove(schema.get_field_index("embedding"))
    target = set_of(list(shipped_concepts().values()))
    write_set(store, target)
    with duckdb.connect() as connection, ListingWriter(store, SOURCE, RUN) as listing:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set arrow_lossless_conversion = true")
        for number, first in enumerate(range(0, images, PART_ROWS)):
            rows = min(PART_ROWS, images - first)
            listing.add_table(_rows(connection, first, rows, LISTING, shuffled=False))
            metadata = _rows(connection, first, rows, schema, shuffled=True)
            name = f"{RUN}-{number:05}"
            _write_part(store, name, metadata, draw(rng, rows))
            _write_scores(store, target, name, metadata, rng)
        listing.finish()
    return store.refreshed()


def vectors(rng: np.random.Generator, rows: int) -> npt.NDArray[np.float16]:
    """Return (rows, D) float16 unit vectors around a common direction; their noise is drawn once, then mirrored."""
    own: npt.NDArray[np.float32] = _noise()[:rows] * rng.choice(np.array([-1, 1], np.float32), DIM)
    own += _common()
    own /= np.sqrt(np.einsum("nd,nd->n", own, own))[:, None]
    return own.astype(np.float16)


@cache
def _noise() -> npt.NDArray[np.float32]:
    """Return (PART_ROWS, D) float32."""
    noise = np.random.default_rng(2).standard_normal((PART_ROWS, DIM), np.float32)
    return noise * np.float32(np.sqrt((1 - COMMON**2) / DIM))


@cache
def _common() -> npt.NDArray[np.float32]:
    """Return (D,) float32 of length COMMON."""
    common = np.random.default_rng(1).standard_normal(DIM, np.float32)
    return common * np.float32(COMMON / np.linalg.norm(common))


def _rows(
    connection: duckdb.DuckDBPyConnection, first: int, rows: int, schema: pa.Schema, *, shuffled: bool
) -> pa.Table:
    given = {"first": first, "rows": rows, "source": SOURCE, "run": RUN, "shuffled": int(shuffled)}
    return connection.sql(_ROWS, params=given).to_arrow_table().select(schema.names).cast(schema)


def _write_part(store: EncoderStore, name: str, metadata: pa.Table, matrix: npt.NDArray[np.float16]) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float16()), DIM)
    table = metadata.append_column("embedding", column).cast(images_schema(DIM))
    store.location.write(f"images/{name}.parquet", parquet_bytes(table))


def _write_scores(
    store: EncoderStore, target: ScoreSet, name: str, metadata: pa.Table, rng: np.random.Generator
) -> None:
    table = metadata.select(["image_id", "run_id", "uri"]).sort_by("uri")
    for concept in target.concepts:
        table = table.append_column(concept.name, pa.array(_scores(concept, rng, table.num_rows), pa.float32()))
    store.location.write(target.file(name), parquet_bytes(table.cast(scores_schema(target.names))))


def _scores(concept: Concept, rng: np.random.Generator, rows: int) -> npt.NDArray[np.float32]:
    """Return (rows,) float32 in the concept's range, most of them low."""
    low, high = concept.range
    return (low + (high - low) * rng.beta(0.6, 1.8, rows)).astype(np.float32)


def main() -> None:
    """Write the store that the words ask for, unless it is there."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("place", type=Path)
    words.add_argument("--images", type=int, default=1_000_000)
    given = words.parse_args()
    if given.place.exists():
        sys.exit(f"{given.place} is there already.")
    print(describe())
    began = time.perf_counter()
    store = write_store(given.place, given.images)
    size = sum(entry.size_bytes for entry in store.location.files())
    print(
        f"{given.images:,} images in {time.perf_counter() - began:.0f} s, {size / 1e9:.2f} GB, "
        f"peak memory {peak_memory_mb():,.0f} MB"
    )


if __name__ == "__main__":
    main()
