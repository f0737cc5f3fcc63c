"""Files that a listing is read from: an inventory's, and lists. Each request for a piece of one may be made again."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from embed.sources.pieces import Pieces
from store.again import Again, at_once
from store.layout import locate
from store.location import Location
from store.s3.location import S3Location
from store.s3.options import S3Options

_BUFFER_BYTES = 8 << 20


@dataclass(frozen=True)
class Files:
    """The files of a folder or a prefix, and how they are asked for."""

    place: Location
    again: Again = at_once

    @classmethod
    def at(cls, folder: str, options: S3Options, again: Again) -> Self:
        """Return what lies at a place; where `again` tries again, boto3 does not."""
        if folder.startswith("s3://") and again is not at_once:
            return cls(S3Location(folder, options, options.client(attempts=1)), again)
        return cls(locate(folder, options), again)

    @property
    def uri(self) -> str:
        """The place as a user would type it."""
        return self.place.uri

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        return self.again(lambda: self.place.read(name))

    @contextmanager
    def open(self, name: str) -> Iterator[io.BufferedReader]:
        """Open a file for random access by few and large reads."""
        with self.again(lambda: self.place.open(name)) as file:

            def once(first: int, end: int) -> bytes:
                file.seek(first)
                return file.read(end - first)

            size_bytes = file.seek(0, io.SEEK_END)
            pieces = Pieces(size_bytes, lambda first, end: self.again(lambda: once(first, end)))
            yield io.BufferedReader(pieces, _BUFFER_BYTES)
