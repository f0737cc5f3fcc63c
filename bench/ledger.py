"""How long a store of 10 million done objects takes to say what is left to do, and in how much memory.

    python -m bench.ledger [--images 10_000_000]

Writes a store of ids alone (its parts hold no embeddings, which this question never reads), lists as many objects in
pages of a thousand, one in ten of them new, and asks the ledger. Beside it the floor: reading the ids from the same
files and sorting them.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import describe, peak_memory_mb
from bench.synthetic import encoder
from store.layout import EncoderStore, Store
from store.ledger import Ledger, id_halves
from store.location import FolderLocation
from store.parts import ROW_GROUP_ROWS, parquet_writer

PART_ROWS = 50_000
PAGE = 1000
NEW = 10
"""One in so many listed objects is new."""

_SCHEMA = pa.schema([pa.field("image_id", pa.uuid(), nullable=False), pa.field("status", pa.string(), nullable=False)])


def ids(first: int, rows: int) -> bytes:
    """Return the ids of some images, 16 bytes each, as random as a sha256 is."""
    return np.random.default_rng(first).bytes(16 * rows)


def write_store(place: Path, images: int) -> EncoderStore:
    """Write parts with the columns that the ledger reads."""
    store = Store.create(FolderLocation(place)).add_encoder(encoder())
    for number, first in enumerate(range(0, images, PART_ROWS)):
        rows = min(PART_ROWS, images - first)
        column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(ids(first, rows))])
        status = pa.array(["embedded"] * rows, pa.string())
        path = place / "part.parquet"
        with parquet_writer(path, _SCHEMA) as writer:
            table = pa.table([pa.ExtensionArray.from_storage(pa.uuid(), column), status], schema=_SCHEMA)
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        store.location.write(f"images/{number:06}.parquet", path)
        path.unlink()
    return store.refreshed()


def pages(images: int) -> Iterator[list[bytes]]:
    """Yield the listing: the store's ids in another order of parts, one in NEW of them unknown to it."""
    for first in reversed(range(0, images, PART_ROWS)):
        rows = min(PART_ROWS, images - first)
        known, new = ids(first, rows), ids(first + images, rows)
        found = [(new if row % NEW == 0 else known)[16 * row : 16 * row + 16] for row in range(rows)]
        yield from (found[start : start + PAGE] for start in range(0, rows, PAGE))


def floor_s(store: EncoderStore) -> float:
    """Return the seconds that reading the ids and sorting them take, with nothing around it."""
    began = time.perf_counter()
    tables = [pq.read_table(Path(store.location.uri, name), columns=["image_id"]) for name in store.parts("images")]
    np.argsort(id_halves(pa.concat_tables(tables)["image_id"])[:, 0])
    return time.perf_counter() - began


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=10_000_000)
    images = words.parse_args().images
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as folder:
        store = write_store(Path(folder, "store"), images)
        before = peak_memory_mb()
        began, spent = time.perf_counter(), time.process_time()
        with Ledger(store) as ledger:
            loaded = time.perf_counter() - began
            spent = time.process_time() - spent
            asking, left = 0.0, 0
            for page in pages(images):
                began, used = time.perf_counter(), time.process_time()
                left += len(ledger.pending_places(page))
                asking += time.perf_counter() - began
                spent += time.process_time() - used
        peak = peak_memory_mb()
        print(f"{images:,} done objects in {len(store.parts('images'))} parts, as many listed: {left:,} are left")
        print(f"load the ids {loaded:.1f} s, ask for each page {asking:.1f} s, together {loaded + asking:.1f} s")
        print(f"processor time of both {spent:.1f} s")
        print(f"peak memory {peak:,.0f} MB, {before:,.0f} MB of it before (pyarrow and numpy among it)")
        print(f"floor, reading and sorting the ids: {floor_s(store):.1f} s")


if __name__ == "__main__":
    main()
