"""What a source held when a run listed it. Written once the listing is complete, so a listing is never half of one."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.layout import EncoderStore
from store.parts import ROW_GROUP_ROWS, damaged, parquet_writer
from store.records import SourceObject
from store.schema import LISTING, objects_table

_CONTENT = b"clipsieve.content"
_SOURCE = b"clipsieve.source"


class ListingWriter:
    """Collects one listing on local disk and puts it into the store when it is complete.

    A listing equal to the newest one of its source is not written again: a run that found nothing new changes nothing.
    It is written where a source inside or around this one was listed in between, because the newest look decides.
    """

    def __init__(self, store: EncoderStore, source: str, run_id: str) -> None:
        """Start a listing of `source` (a URI) by the run `run_id`."""
        self._store, self._source, self._run_id = store, source, run_id
        self._source_digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        self._content = 0
        self._objects = 0

    def __enter__(self) -> Self:
        """Open the spool file."""
        self._folder = tempfile.TemporaryDirectory(prefix="clipsieve-listing-")
        self._spool = Path(self._folder.name, "listing.parquet")
        self._writer = parquet_writer(self._spool, LISTING)
        self._waiting: list[pa.Table] = []
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Drop the spool file; what was not finished never reaches the store."""
        self._writer.close()
        self._folder.cleanup()

    def add(self, objects: Sequence[SourceObject]) -> None:
        """Add a page of the listing."""
        self.add_table(objects_table(objects, self._run_id))

    def add_table(self, rows: pa.Table) -> None:
        """Add rows of the schema LISTING; pages are gathered, since a reader pays for every row group."""
        self._content ^= _xor(rows["image_id"])
        self._objects += rows.num_rows
        self._waiting.append(rows)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP_ROWS:
            self._write_waiting()

    def finish(self) -> bool:
        """Put the listing into the store; return False where the newest one of this source already says the same."""
        content = f"{self._objects}:{self._content:032x}".encode()
        if self._says_nothing_new(content):
            return False
        self._write_waiting()
        self._writer.add_key_value_metadata({_CONTENT: content, _SOURCE: self._source.encode()})
        self._writer.close()
        self._store.location.write(f"listings/{self._run_id}.{self._source_digest}.parquet", self._spool)
        return True

    def _write_waiting(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP_ROWS)
            self._waiting.clear()

    def _says_nothing_new(self, content: bytes) -> bool:
        newest = {name.split(".")[-2]: name for name in self._store.newest_listings()}
        mine = newest.pop(self._source_digest, None)
        if mine is None or self._metadata(mine).get(_CONTENT) != content:
            return False
        return not any(name > mine and self._overlaps(self._metadata(name)) for name in newest.values())

    def _overlaps(self, metadata: dict[bytes, bytes]) -> bool:
        other = metadata.get(_SOURCE, b"").decode()
        return other.startswith(self._source) or self._source.startswith(other)

    def _metadata(self, name: str) -> dict[bytes, bytes]:
        """Return what a listing's file says of itself; raise StoreDamaged where it cannot be read."""
        try:
            with self._store.location.open(name) as file:
                return pq.ParquetFile(file).metadata.metadata or {}
        except (pa.ArrowException, OSError) as error:
            raise damaged(self._store.location, name, error) from error


def _xor(ids: pa.ChunkedArray) -> int:
    """Return the exclusive or of all ids as numbers: the same for the same ids in any order."""
    content = np.zeros(2, np.uint64)
    for chunk in ids.chunks:
        if len(chunk):
            halves = np.frombuffer(chunk.storage.buffers()[1], ">u8").reshape(-1, 2)
            content ^= np.bitwise_xor.reduce(halves[chunk.offset : chunk.offset + len(chunk)])
    return int(content[0]) << 64 | int(content[1])
