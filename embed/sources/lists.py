"""A Parquet or CSV list of URIs: s3, http, https, file, or absolute paths. Its other columns are kept as metadata.

What tells one content of a URI from another is asked of each place as the list is read, unless a column `etag` says it.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from embed.sources.folder import PAGE_OBJECTS, FolderSource, path_of
from embed.sources.http import UNVERSIONED, HttpReader
from embed.sources.listing.files import Files
from embed.sources.read import Fetched, ReadFailed
from embed.sources.s3 import S3Source
from embed.sources.selection import Selection, base
from store.again import Again, at_once
from store.errors import SourceError, UnknownName, UsageError
from store.extra_columns import UserList
from store.records import ErrorCode, SourceObject
from store.s3.options import S3Options, split_uri
from store.uris import UriRegister

SUFFIXES = (".parquet", ".csv", ".tsv")
URI_COLUMNS = ("uri", "url", "image_url", "image_path", "path")
"""The order in which the column of URIs is looked for, whatever its case."""

READERS = 64
"""Requests in flight: a list's places are many, and one that is slow holds up no other."""

_FACTS = {"etag": ("etag", "e_tag"), "size_bytes": ("size_bytes", "size", "content_length")}
_KINDS = ("s3", "http", "https", "file")


@dataclass(frozen=True)
class Named(SourceObject):
    """A row of the list before anything was asked about it."""

    row: int = -1


class ListSource:
    """The images that a list names."""

    readers = READERS

    def __init__(
        self,
        text: str,
        options: S3Options,
        uri_column: str | None,
        selection: Selection,
        *,
        again: Again = at_once,
    ) -> None:
        """Read the list's columns; raise a ClipsieveError where it is none, or names no URIs."""
        self.uri = text if text.startswith("s3://") else "file://" + quote(str(Path(text).expanduser().resolve()))
        self._selection = selection
        self._path = _local(text, options, again)
        if text.startswith("s3://"):
            weakref.finalize(self, shutil.rmtree, self._path.parent, ignore_errors=True)
        self._columns = _columns_of(self._path, self.uri)
        self._uri_column = _uri_column(self._columns, uri_column, self.uri)
        self._etag, self._size = (_first(self._columns, _FACTS[name]) for name in ("etag", "size_bytes"))
        self._http = HttpReader(READERS)
        self._bucket = lru_cache(256)(lambda name: S3Source(f"s3://{name}/", options, again))
        self._disk = FolderSource(Path("/"), again)
        self._rows: list[int] = []
        self._ids: list[bytes] = []

    @property
    def covers(self) -> Callable[[str], bool] | None:
        """As the selection does."""
        return self._selection.covers(base(self.uri))

    @property
    def extra_columns(self) -> UserList | None:
        """What the list says beside the URIs, once every page is listed; None where it says nothing."""
        known = {self._uri_column, self._etag, self._size}
        others = tuple(name for name in self._columns if name not in known)
        return UserList(self.uri, self._path, others, tuple(self._rows), tuple(self._ids)) if others else None

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield what the list names, in its order and each URI once, with what its place says of it now."""
        with UriRegister() as register, ThreadPoolExecutor(READERS, thread_name_prefix="looker") as pool:
            chosen = self._selection.choose(self._named(register), base(self.uri))
            while page := list(islice(chosen, PAGE_OBJECTS)):
                found = list(pool.map(self._looked_up, page))
                self._rows += [one.row for one in page if isinstance(one, Named)]
                self._ids += [one.image_id.bytes for one in found]
                yield found

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one image."""
        kind = urlsplit(wanted.uri).scheme
        if kind == "s3":
            return self._bucket(wanted.bucket).fetch(wanted)
        if kind == "file":
            return self._disk.fetch(wanted)
        if kind in _KINDS:
            return self._http.fetch(wanted)
        raise ReadFailed(ErrorCode.NOT_FOUND, f"no URI that clipsieve reads; known are {', '.join(_KINDS)}")

    def _named(self, register: UriRegister) -> Iterator[SourceObject]:
        wanted = [name for name in (self._uri_column, self._etag, self._size) if name]
        row = -1
        for batch in _batches(self._path, wanted):
            uris = [_uri(value) for value in batch.column(self._uri_column).to_pylist()]
            first = register.arrive(pa.array(uris, pa.string()), [bytes(16)] * len(uris)).first
            etags, sizes = (_values(batch, name) for name in (self._etag, self._size))
            for uri, is_first, etag, size in zip(uris, first.tolist(), etags, sizes, strict=True):
                row += 1
                if is_first and uri:
                    yield self._object(uri, row, etag, size)

    def _object(self, uri: str, row: int, etag: object, size: object) -> Named:
        bucket, key = split_uri(uri) if uri.startswith("s3://") else (None, uri.partition("://")[2] or uri)
        said = str(etag).strip('"') if etag else None
        return Named(
            source=self.uri,
            uri=uri,
            bucket=bucket,
            key=key,
            etag=said if bucket or uri.startswith("http") else None,
            revision=said or "",
            size_bytes=int(str(size)) if str(size).isdecimal() else 0,
            last_modified=None,
            row=row,
        )

    def _looked_up(self, one: SourceObject) -> SourceObject:
        """Return the object as its place describes it now; where that says nothing, reading it will tell why."""
        if not one.revision:
            found = self._asked(one)
            if found is not None:
                return found
        return _plain(one, revision=one.revision or UNVERSIONED)

    def _asked(self, one: SourceObject) -> SourceObject | None:
        if one.bucket is not None:
            return self._bucket(one.bucket).look(one)
        if one.uri.startswith("file://"):
            found = self._disk.look(path_of(one.uri), one.key, one.source)
            return _plain(found, uri=one.uri) if found else None
        said = self._http.look(one.uri) if one.uri.startswith("http") else None
        if said is None:
            return None
        size_bytes = said.size_bytes or one.size_bytes
        return _plain(
            one, revision=said.revision, etag=said.etag, last_modified=said.last_modified, size_bytes=size_bytes
        )


def _plain(one: SourceObject, **said: Any) -> SourceObject:
    """Return an object without its row, and with what is said of it."""
    return SourceObject(**{field.name: getattr(one, field.name) for field in fields(SourceObject)} | said)


def _uri(value: object) -> str:
    """Return what a cell names; a path is a file's URI."""
    words = str(value).strip() if value is not None else ""
    return "file://" + quote(words) if words.startswith("/") else words


def _values(batch: pa.RecordBatch, name: str | None) -> Sequence[object]:
    return batch.column(name).to_pylist() if name else [None] * batch.num_rows


def _local(text: str, options: S3Options, again: Again) -> Path:
    """Return the list on local disk; one on S3 is copied there, for as long as the source lives."""
    if not text.startswith("s3://"):
        path = Path(text).expanduser().resolve()
        if FolderSource(path.parent, again).look(os.fsencode(path), path.name, "") is None:
            raise SourceError(f"The list {text} does not exist.", do="Check the path.")
        return path
    place, _, name = text.rpartition("/")
    with Files.at(place, options, again).open(name) as remote:
        path = Path(tempfile.mkdtemp(prefix="clipsieve-list-"), name)
        try:
            with path.open("wb") as local:
                shutil.copyfileobj(remote, local, 1 << 24)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
    return path


def _columns_of(path: Path, uri: str) -> list[str]:
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
        with _csv(path, None) as reader:
            return list(reader.schema.names) if header else []
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(uri, error) from error


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(PAGE_OBJECTS * 16, columns=list(columns))
            return
        with _csv(path, columns) as reader:
            yield from reader
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), error) from error


def _csv(path: Path, columns: Sequence[str] | None) -> pyarrow.csv.CSVStreamingReader:
    """Open a CSV with every value as it is written: 007 is a name, whatever it looks like."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    kinds = dict.fromkeys(columns or (), pa.string())
    return pyarrow.csv.open_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(include_columns=list(columns or ()), column_types=kinds),
    )


def _unreadable(uri: str, error: Exception) -> SourceError:
    return SourceError(
        f"The list {uri} cannot be read ({' '.join(str(error).split())[:200]}).",
        do="Write it as Parquet, or as CSV in UTF-8 with a header.",
    )


def _first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    by_name = {column.lower(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _uri_column(columns: Sequence[str], wanted: str | None, uri: str) -> str:
    if wanted is not None:
        if wanted not in columns:
            raise UnknownName(f"{uri} has no column {wanted!r}.", do=f"It has: {', '.join(columns)}.")
        return wanted
    found = _first(columns, URI_COLUMNS)
    if found is None:
        raise UsageError(
            f"{uri} has no column that names images.",
            f"Looked for: {', '.join(URI_COLUMNS)}; it has: {', '.join(columns)}.",
            "Say which one it is with --uri-column.",
        )
    return found
