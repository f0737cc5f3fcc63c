"""What a source held when a run listed it. Written once the listing is complete, so a listing is never half of one."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow.parquet as pq

from store.layout import EncoderStore
from store.records import SourceObject
from store.schema import LISTING, objects_table

_CONTENT = b"clipsieve.content"


class ListingWriter:
    """Collects one listing on local disk and puts it into the store when it is complete.

    A listing equal to the newest one of its source is not written again: a run that found nothing new changes nothing.
    """

    def __init__(self, store: EncoderStore, source: str, run_id: str) -> None:
        """Start a listing of `source` (a URI) by the run `run_id`."""
        self._store, self._run_id = store, run_id
        self._source_digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        self._content = 0
        self._objects = 0

    def __enter__(self) -> Self:
        """Open the spool file."""
        self._folder = tempfile.TemporaryDirectory(prefix="clipsieve-listing-")
        self._spool = Path(self._folder.name, "listing.parquet")
        self._writer = pq.ParquetWriter(self._spool, LISTING, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Drop the spool file; what was not finished never reaches the store."""
        self._writer.close()
        self._folder.cleanup()

    def add(self, objects: Sequence[SourceObject]) -> None:
        """Add a page of the listing."""
        for one in objects:
            self._content ^= one.image_id.int
        self._objects += len(objects)
        self._writer.write_table(objects_table(objects, self._run_id))

    def finish(self) -> bool:
        """Put the listing into the store; return False where the newest one of this source already says the same."""
        content = f"{self._objects}:{self._content:032x}".encode()
        if content == self._newest_content():
            return False
        self._writer.add_key_value_metadata({_CONTENT: content})
        self._writer.close()
        self._store.location.write(f"listings/{self._run_id}.{self._source_digest}.parquet", self._spool)
        return True

    def _newest_content(self) -> bytes | None:
        names = [n for n in self._store.parts("listings") if n.split(".")[-2] == self._source_digest]
        if not names:
            return None
        with self._store.location.open(names[-1]) as file:
            metadata = pq.ParquetFile(file).metadata.metadata or {}
        return metadata.get(_CONTENT)
