"""Writing and reading Parquet parts. A part is whole or absent; its existence is the mark that it is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.errors import NotNow, StoreDamaged
from store.layout import EncoderStore
from store.location import AWAY, MEND, Location
from store.schema import ImageRow, images_table, thumbnails_table

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROW_GROUP_ROWS = 16_384
"""Small enough that DuckDB spreads one part over several threads, large enough for good zone maps."""

_NO_DICTIONARY = {
    *("image_id", "neighbor_id", "member_of", "uri", "key", "etag", "revision", "sha256", "pixels_sha256"),
    *("embedding.list.element", "webp", "text"),
}
_NO_COMPRESSION = {"embedding.list.element", "vector.list.element", "webp"}
"""Random bits and WebP do not shrink; trying costs decoding time for ever."""


def parquet_bytes(*tables: pa.Table) -> bytes:
    """Return tables of one schema as a Parquet file, none sharing a row group: the same bytes for the same tables."""
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return bytes(sink.getvalue())


def parquet_writer(sink: Path | pa.NativeFile, schema: pa.Schema) -> "pq.ParquetWriter":
    """Open a Parquet file for writing, each column in the form that suits what it holds."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # a question in SQL does without

    leaves = [path for field in schema for path in _leaves(field)]
    measured = {field.name for field in schema if pa.types.is_floating(field.type)}  # as random as an embedding
    return pq.ParquetWriter(
        sink,
        schema,
        write_page_checksum=True,
        use_dictionary=[leaf for leaf in leaves if leaf not in _NO_DICTIONARY | measured],
        compression={leaf: "NONE" if leaf in _NO_COMPRESSION | measured else "ZSTD" for leaf in leaves},
    )


def write_images(store: EncoderStore, name: str, run_id: str, rows: Sequence[ImageRow]) -> None:
    """Write one part of images and its thumbnails; the images come last, since they are what counts as done.

    Rows without an embedding go into row groups of their own. DuckDB 2.0 reads a missing list as one missing element,
    and `list_inner_product` refuses a vector of rows that holds one, even where a filter has dropped its row.
    """
    thumbnails = thumbnails_table(rows, run_id)
    if thumbnails.num_rows:
        store.location.write(f"thumbnails/{name}.parquet", parquet_bytes(thumbnails))
    embedded = [row for row in rows if row.embedding is not None]
    others = [row for row in rows if row.embedding is None]
    groups = [images_table(some, run_id, store.encoder.embedding_dim) for some in (embedded, others)]
    store.location.write(f"images/{name}.parquet", parquet_bytes(*groups))


def read_part(location: Location, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a part, or some of its columns.

    Raise StoreDamaged where it is no readable Parquet file, NotNow where the place that it lies at is away.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    try:
        with location.open(name) as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True)
            return parquet.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno in AWAY:
            raise NotNow(f"Cannot read {location.uri}/{name}: {error.strerror}.", do=MEND) from error
        raise damaged(location, name, error) from error


def damaged(location: Location, name: str, error: Exception) -> StoreDamaged:
    """Return the error for an unreadable part, with the way out that fits what it holds."""
    way_out = {
        "images": "Remove it and run the same `clipsieve embed` again, or `import`: only its images are read again.",
        "thumbnails": "Remove it: everything but the contact sheets works without it.",
        "listings": "Remove it and run the same `clipsieve embed` again, or `import`: the source is listed anew.",
        "prompts": "Remove it: its prompts are encoded again when they are needed.",
        "scores": "Remove its folder and run `clipsieve score` again.",
        "neighbors": "Remove its folder and run `clipsieve neighbors` again.",
        "crowds": "Remove its folder and run `clipsieve neighbors` again.",
        "ranked": "Remove its folder and run `clipsieve neighbors` again.",
        "metadata": "Remove it and run the same `clipsieve embed` again: the list is read anew.",
        "measurements": "Remove it and run the same `clipsieve confirm` again: only its images are looked at again.",
    }
    return StoreDamaged(
        f"{location.uri}/{name} cannot be read ({' '.join(str(error).split())[:200]}).",
        do=way_out.get(name.split("/", 1)[0], "Restore it from a backup."),
    )


def unit_rows(vectors: npt.NDArray[np.float32], tolerance: float) -> npt.NDArray[np.bool_]:
    """Return (N,) bool: whether each row of (N, D) has length 1 within the tolerance."""
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged vectors, whose length is then not 1
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    return np.asarray(np.abs(lengths - 1.0) <= tolerance)


def _leaves(field: pa.Field) -> list[str]:
    if not pa.types.is_list(field.type) and not pa.types.is_fixed_size_list(field.type):
        return [field.name]
    element, inner = f"{field.name}.list.element", field.type.value_type
    return [f"{element}.{part.name}" for part in inner] if pa.types.is_struct(inner) else [element]
