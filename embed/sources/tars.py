"""WebDataset tars, on disk or on S3: each member that is named as a picture is an image.

A tar is never downloaded whole: its headers are read one after the other, skipping what lies between, and then the
members that are wanted, each by its place. https://github.com/webdataset/webdataset#the-webdataset-format
"""

import fnmatch
import itertools
import os
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import BinaryIO
from urllib.parse import quote, unquote

from embed.sources.folder import PAGE_OBJECTS, FolderSource
from embed.sources.listing.recalled import RecalledTars, recalled_tars
from embed.sources.read import Fetched, ReadFailed, refuse_large
from embed.sources.s3 import S3Source
from embed.sources.tar_uris import member_of, member_uri
from store.errors import SourceError
from store.layout import EncoderStore
from store.records import ErrorCode, SourceObject

PICTURES = frozenset(
    (
        *(
            "apng",
            "avif",
            "bmp",
            "cur",
            "dds",
            "dib",
            "gif",
            "heic",
            "heif",
            "ico",
            "icns",
            "j2k",
            "jfif",
            "jp2",
            "jpe",
        ),
        *("jpeg", "jpf", "jpg", "jpx", "jxl", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "qoi", "sgi", "tga", "tif"),
        *("tiff", "webp", "xbm", "xpm"),
    )
)
"""Endings of members that are images; a sample's captions and labels lie beside them under other endings.

Another ending here wants another `_WHOLE_VALUE` in `store/listings.py`.
"""

_TARS_AT_ONCE = 8
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class TarSource:
    """The pictures in the tars that a name, a glob or WebDataset's braces mean: `s3://b/{000..127}.tar`, `in/*.tar`."""

    covers = extra_columns = None

    def __init__(self, tars: FolderSource | S3Source, pattern: str, store: EncoderStore | None = None) -> None:
        """Name the folder or prefix that the tars lie below, and what they are called there.

        Of a tar that is what it was when `store` last learned of all of them, the headers are not read again.
        """
        is_folder = isinstance(tars, FolderSource)
        self.uri = tars.uri + (quote(pattern, safe="/*?[]{},") if is_folder else pattern)
        self._tars, self._pattern, self._patterns, self._store = tars, pattern, expanded(pattern), store
        self.readers = tars.readers

    def recalling(self, store: EncoderStore) -> "TarSource":
        """Return the same source, which asks nothing about tars that this store knows."""
        return TarSource(self._tars, self._pattern, store)

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every member that is named as a picture, tar by tar, in the order in which they lie there."""
        members = self._members()
        while page := list(islice(members, PAGE_OBJECTS)):
            yield page

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one member, if its tar still is the one that was listed."""
        refuse_large(wanted.size_bytes)
        tar, member = member_of(wanted.uri)
        if member is None:
            self._tars.read_span(tar, wanted.revision, 0, min(wanted.size_bytes, 1))  # raises where S3 holds it back
            raise ReadFailed(ErrorCode.CORRUPT, "a tar that ends early, or is none; what follows cannot be read")
        revision, _, offset = wanted.revision.rpartition("@")
        return Fetched(self._tars.read_span(tar, revision, int(offset), wanted.size_bytes))

    def _members(self) -> Iterator[SourceObject]:
        """Yield the members of several tars read at once, in the order of the tars."""
        tars = self._wanted_tars()
        with (
            recalled_tars(self._store, self.uri) as known,
            ThreadPoolExecutor(_TARS_AT_ONCE, thread_name_prefix="tars") as pool,
        ):
            running: list[Future[list[SourceObject]]] = [
                pool.submit(self._listed, tar, known) for tar in islice(tars, _TARS_AT_ONCE)
            ]
            try:
                while running:
                    yield from running.pop(0).result()
                    running += [pool.submit(self._listed, tar, known) for tar in islice(tars, 1)]
            finally:
                for waiting in running:
                    waiting.cancel()

    def _wanted_tars(self) -> Iterator[SourceObject]:
        """Yield the tars themselves; raise SourceError where one that is called by its name is not there."""
        missing = {pattern for pattern in self._patterns if not re.search(r"[*?[]", pattern)}
        matches = re.compile("|".join(map(fnmatch.translate, self._patterns))).match
        for page in self._tars.pages():
            for tar in page:
                name = self._name(tar)
                if matches(name):
                    missing.discard(name)
                    yield tar
        if missing:
            raise SourceError(
                f"{self._tars.uri}{min(missing)} does not exist"
                f"{f', nor do {len(missing) - 1:,} others' if len(missing) > 1 else ''}.",
                "Going on would take a smaller dataset for the whole one.",
                "Check the name and the numbers in braces.",
            )

    def _listed(self, tar: SourceObject, known: RecalledTars | None) -> list[SourceObject]:
        members = known.members(tar) if known else None
        return self._read(tar) if members is None else members

    def _read(self, tar: SourceObject) -> list[SourceObject]:
        """Return the members of one tar, of several with one name the last, as unpacking would leave it.

        A tar that is damaged, or that S3 holds back (forbidden, archived, gone since it was listed), is an object of
        its own, after the members before the damage: its row says so.
        """
        members: dict[str, SourceObject] = {}
        try:
            with self._tars.open(tar) as file, tarfile.open(fileobj=file, mode="r:") as opened:
                for member in opened:
                    if member.isreg() and member.name.rpartition(".")[2].lower() in PICTURES:
                        members.pop(member.name, None)
                        members[member.name] = self._object(tar, member)
                is_whole = _ends_well(file, opened.offset)
        except (tarfile.TarError, ReadFailed):
            is_whole = False
        return [*members.values(), *([] if is_whole else [replace(tar, source=self.uri)])]

    def _name(self, tar: SourceObject) -> str:
        below = tar.uri.removeprefix(self._tars.uri)
        return unquote(below) if tar.bucket is None else below

    def _object(self, tar: SourceObject, member: tarfile.TarInfo) -> SourceObject:
        name = os.fsencode(member.name).decode("utf-8", "backslashreplace")
        return SourceObject(
            source=self.uri,
            uri=member_uri(tar.uri, name),
            bucket=None,
            key=f"{self._name(tar)}/{name}",
            etag=None,
            revision=f"{tar.revision}@{member.offset_data}",
            size_bytes=member.size,
            last_modified=datetime.fromtimestamp(member.mtime, UTC),
        )


def _ends_well(file: BinaryIO, offset: int) -> bool:
    """Whether nothing but the end follows the last member; `tarfile` takes a broken header for the end as well."""
    file.seek(offset)
    return not file.read(tarfile.BLOCKSIZE).strip(b"\0")


def expanded(pattern: str) -> list[str]:
    """Return what braces stand for: `{08..10}` is 08, 09, 10 and `{train,val}` each; globs stay as they are."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    numbers = _RANGE.fullmatch(found[1])
    if numbers:
        width = len(numbers[1]) if numbers[1].startswith("0") or len(numbers[1]) == len(numbers[2]) else 0
        words = [f"{number:0{width}}" for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    else:
        words = found[1].split(",")
    rest = expanded(pattern[found.end() :])
    return [f"{pattern[: found.start()]}{word}{end}" for word, end in itertools.product(words, rest)]
