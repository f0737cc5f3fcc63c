"""Where images come from. A source lists its objects page by page and reads one at a time; both from any thread."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from embed.sources.folder import FolderSource
from embed.sources.read import Fetched, ReadFailed
from embed.sources.s3 import S3Source
from store.errors import SourceError, UsageError
from store.records import SourceObject
from store.s3 import S3Options

__all__ = ["Fetched", "ReadFailed", "Source", "open_source", "refuse_overlap"]


class Source(Protocol):
    """A set of objects that can be listed and read."""

    @property
    def uri(self) -> str:
        """The source's own URI, ending in a slash; every object's URI starts with it."""

    @property
    def readers(self) -> int:
        """How many reads at once are worth while."""

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every object, some at a time; raise SourceError where listing is refused."""

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object; raise ReadFailed with an outcome where only this object is at fault."""


def open_source(text: str, options: S3Options) -> Source:
    """Return the source that a user's word means: `s3://bucket/prefix/` or a folder."""
    if text.startswith("s3://"):
        return S3Source(text, options)
    if "://" in text:
        raise UsageError(f"{text!r} is no source that clipsieve reads.", do="Give a folder, or s3://BUCKET/PREFIX/.")
    path = Path(text).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise SourceError(
            f"The source {text} {what}.", do="Give the folder that holds the images, or s3://BUCKET/PREFIX/."
        )
    return FolderSource(path)


def refuse_overlap(source: Source, store_uri: str) -> None:
    """Raise UsageError where the store lies inside the source, which would then list the store's own files."""
    if store_uri.startswith("s3://"):
        inside = f"{store_uri}/".startswith(source.uri)
    else:
        inside = isinstance(source, FolderSource) and Path(os.path.realpath(store_uri)).is_relative_to(source.path)
    if inside:
        raise UsageError(
            f"The store {store_uri} lies inside the source {source.uri}.",
            "Every run would list the store's own files as new images.",
            "Put the store somewhere else.",
        )
