"""A folder and everything below it."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

from embed.sources.pieces import Pieces
from embed.sources.read import Fetched, ReadFailed, Unavailable, refuse_large
from store.again import Again, Answer, at_once
from store.aside import OWN, moved_aside
from store.errors import LocationError, NotNow, SourceError
from store.location import AWAY
from store.records import ErrorCode, SourceObject

PAGE_OBJECTS = 1000


class FolderSource:
    """Regular files below a folder, symbolic links to files included, in the order of their names.

    What `apply --in-place` has moved aside is not listed.
    """

    covers = extra_columns = None

    def __init__(self, path: Path, again: Again = at_once) -> None:
        """Name the folder. `again` is how the file system is asked for what lies there."""
        self.path, self._again = Path(os.path.realpath(path)), again
        self.uri = _uri(os.fsencode(self.path)).rstrip("/") + "/"
        self.readers = (os.cpu_count() or 1) + 2

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every file with its size and time of change as of now."""
        files = self._files()
        while page := list(islice(files, PAGE_OBJECTS)):
            yield page

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one file, if it still is the one that was listed; raise Unavailable where a mount is away for now."""
        refuse_large(wanted.size_bytes)
        return Fetched(self._read(wanted.uri, wanted.revision, lambda file: file.readall()))

    def read_span(self, uri: str, revision: str, offset: int, size_bytes: int) -> bytes:
        """Read a piece of a file, if it still is the one that was listed; raise as `fetch` does."""
        data = self._read(uri, revision, lambda file: os.pread(file.fileno(), size_bytes, offset))
        if len(data) < size_bytes:
            raise ReadFailed(ErrorCode.TRUNCATED, f"{len(data):,} of {size_bytes:,} bytes are there")
        return data

    def open(self, wanted: SourceObject) -> BinaryIO:
        """Open a file for reading here and there; raise SourceError where that is refused."""
        path = path_of(wanted.uri)

        def read(first: int, end: int) -> bytes:
            with open(path, "rb") as file:  # noqa: PTH123  # a path of bytes; a handle may be stale by the next piece
                return os.pread(file.fileno(), end - first, first)

        return io.BufferedReader(
            Pieces(wanted.size_bytes, lambda first, end: self._asked(path, lambda: read(first, end)))
        )

    @property
    def is_folder(self) -> bool:
        """Whether it is one. Raise SourceError where the mount stays away."""
        path = os.fsencode(self.path)
        return self._asked(path, partial(_is_folder, path))

    def look(self, path: bytes, key: str, source: str) -> SourceObject | None:
        """Return a regular file as an object; None for what is none. Raise SourceError where the mount stays away."""
        return self._asked(path, lambda: _file_object(path, source, key, _uri(path)))

    def _read(self, uri: str, revision: str, read: Callable[[io.FileIO], bytes]) -> bytes:
        try:
            # A path of bytes, which pathlib does not take; a buffer would be one more to fill and to free.
            with open(path_of(uri), "rb", buffering=0) as file:  # noqa: PTH123
                data = read(file)
                found = _revision(os.fstat(file.fileno()))
        except FileNotFoundError:
            raise ReadFailed(ErrorCode.NOT_FOUND, "gone since it was listed") from None
        except PermissionError as error:
            raise ReadFailed(ErrorCode.FORBIDDEN, str(error.strerror)) from error
        except OSError as error:
            if error.errno in AWAY:
                raise Unavailable(str(error.strerror)) from error
            raise ReadFailed(ErrorCode.READ_FAILED, str(error.strerror)) from error
        if found != revision:
            raise ReadFailed(ErrorCode.CHANGED, f"changed since it was listed: {revision} is now {found}")
        return data

    def _files(self) -> Iterator[SourceObject]:
        waiting = [b""]  # as they are named below the source
        while waiting:
            below = waiting.pop()
            parent = os.path.join(os.fsencode(self.path), below).rstrip(b"/") or b"/"  # noqa: PTH118  # bytes
            names, folders = self._asked(parent, partial(_entries, parent))
            if os.fsencode(OWN) in folders:
                aside = moved_aside(parent)
                folders = [name for name in folders if name not in aside]
            for start in range(0, len(names), PAGE_OBJECTS):
                some = names[start : start + PAGE_OBJECTS]
                yield from self._asked(parent, partial(_objects, parent, below, some, self.uri))
            waiting += [os.path.join(below, name) for name in reversed(folders)]  # noqa: PTH118  # as above

    def _asked(self, path: bytes, ask: Callable[[], Answer]) -> Answer:
        """Return what the file system answers; raise SourceError where it refuses, or stays away."""

        def once() -> Answer:
            try:
                return ask()
            except OSError as error:
                kind = NotNow if error.errno in AWAY else LocationError
                raise kind(f"Cannot list {path!r}: {error.strerror}.") from error

        try:
            return self._again(once)
        except LocationError as error:
            raise SourceError(
                str(error),
                "What lies in it could be neither embedded nor accounted for.",
                "Allow reading it, mend the mount, or move it out of the source.",
            ) from error


def _entries(folder: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the names of what lies in a folder, and of the folders there, sorted; a link to a folder is neither."""
    names: list[bytes] = []
    folders: list[bytes] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _leads_on(entry):
                names.append(entry.name)
            elif not entry.is_symlink():
                folders.append(entry.name)
    names.sort()
    folders.sort()
    return names, folders


def _leads_on(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in AWAY:
            raise
        return False  # a link to itself


def _is_folder(path: bytes) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(path: bytes) -> os.stat_result | None:
    """Return what stands at a path, None where nothing does; raise OSError where that cannot be told for now."""
    try:
        return os.stat(path)  # noqa: PTH116  # bytes, which pathlib does not take
    except OSError as error:
        if error.errno in AWAY:
            raise
        return None  # gone since its folder was read, or a link to nothing


def _objects(parent: bytes, below: bytes, names: list[bytes], source: str) -> list[SourceObject]:
    """Return the regular files of these names in a folder, which the source knows as `below`; raise as below.

    What they have in common is worked out once: a job's Python lists a file in a third of the time.
    """
    before, uri_before = os.path.join(parent, b""), _uri(os.path.join(parent, b""))  # noqa: PTH118  # bytes
    key_before = os.path.join(below, b"")  # noqa: PTH118  # as above
    found = []
    for name in names:
        key = (key_before + name).decode("utf-8", "backslashreplace")
        if (one := _file_object(before + name, source, key, uri_before + quote(name))) is not None:
            found.append(one)
    return found


def _file_object(path: bytes, source: str, key: str, uri: str) -> SourceObject | None:
    """Return a regular file as an object; None for what is none. Raise OSError where that cannot be told for now."""
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    return SourceObject(
        source=source,
        uri=uri,
        bucket=None,
        key=key,
        etag=None,
        revision=_revision(status),
        size_bytes=status.st_size,
        last_modified=datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC),
    )


def path_of(uri: str) -> bytes:
    """Return the path that a `file://` URI names."""
    return unquote_to_bytes(uri.removeprefix("file://"))


def _uri(path: bytes) -> str:
    return "file://" + quote(path)


def _revision(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"
