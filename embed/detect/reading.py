"""From a row of the band to the image's bytes, by the sources of pass 1: read only while it is what was judged."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from urllib.parse import unquote_to_bytes

import pyarrow as pa

from embed.patience import Reads
from embed.sources import Fetched, ReadFailed, Source
from embed.sources.folder import FolderSource
from embed.sources.s3 import S3Source
from store.records import ErrorCode, ImageFacts, SourceObject
from store.s3 import S3Options

OUTAGE_S = 60.0
"""So long a service that does not answer is waited for."""


@dataclass(frozen=True)
class Wanted:
    """One image of the band, with what pass 1 learned of it."""

    source_object: SourceObject
    facts: ImageFacts | None = None  # None where the vectors were made elsewhere


def wanted(band: pa.Table) -> Iterator[Wanted]:
    """Yield the images of a band, in its order."""
    names = [name for name in SourceObject.__dataclass_fields__ if name in band.column_names]
    for row in band.to_pylist():
        facts = None
        if row["format"] is not None and row["width_px"] and row["height_px"]:
            facts = ImageFacts(
                row["width_px"], row["height_px"], row["format"], row["mode"] or "", row["exif_orientation"]
            )
        yield Wanted(SourceObject(**{name: row[name] for name in names}), facts)


class Reader:
    """Reads images of any source; used by many threads."""

    def __init__(self, s3: S3Options) -> None:
        """Reach S3 in this way."""
        self._s3 = s3
        self.bytes_read = 0
        self._sources: dict[str, Reads | None] = {}
        self._lock = Lock()

    def read(self, one: SourceObject) -> Fetched:
        """Return the bytes; raise ReadFailed where this image cannot be had, SourceError where no image can."""
        source = self._source(one.source)
        if source is None:
            raise ReadFailed(ErrorCode.READ_FAILED, f"{one.source} is no place that images are read from")
        fetched = source.fetch(one)
        with self._lock:
            self.bytes_read += len(fetched.data)
        return fetched

    def _source(self, uri: str) -> Reads | None:
        with self._lock:
            if uri not in self._sources:
                opened = _opened(uri, self._s3)
                self._sources[uri] = Reads(opened, OUTAGE_S) if opened else None
            return self._sources[uri]


def _opened(uri: str, s3: S3Options) -> Source | None:
    if uri.startswith("s3://"):
        return S3Source(uri, s3)
    if uri.startswith("file://"):
        return FolderSource(Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))))
    return None
