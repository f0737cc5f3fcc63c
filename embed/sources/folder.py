"""A folder and everything below it."""

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote_to_bytes

from embed.sources.read import Fetched, ReadFailed, refuse_large
from store.aside import OWN, moved_aside
from store.errors import SourceError
from store.records import ErrorCode, SourceObject

PAGE_OBJECTS = 1000


class FolderSource:
    """Regular files below a folder, symbolic links to files included, in the order of their names.

    What `apply --in-place` has moved aside is not listed.
    """

    covers = extra_columns = None

    def __init__(self, path: Path) -> None:
        """Name the folder."""
        self.path = Path(os.path.realpath(path))
        self.uri = _uri(os.fsencode(self.path)).rstrip("/") + "/"
        self.readers = (os.cpu_count() or 1) + 2

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every file with its size and time of change as of now."""
        files = self._files()
        while page := list(islice(files, PAGE_OBJECTS)):
            yield page

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one file, if it still is the one that was listed."""
        refuse_large(wanted.size_bytes)
        return Fetched(self._read(wanted.uri, wanted.revision, lambda file: file.read()))

    def read_span(self, uri: str, revision: str, offset: int, size_bytes: int) -> bytes:
        """Read a piece of a file, if it still is the one that was listed; raise as `fetch` does."""
        data = self._read(uri, revision, lambda file: os.pread(file.fileno(), size_bytes, offset))
        if len(data) < size_bytes:
            raise ReadFailed(ErrorCode.TRUNCATED, f"{len(data):,} of {size_bytes:,} bytes are there")
        return data

    def open(self, wanted: SourceObject) -> BinaryIO:
        """Open a file for reading here and there; raise SourceError where that is refused."""
        path = path_of(wanted.uri)
        try:
            return open(path, "rb")  # noqa: PTH123  # a path of bytes; the caller closes it
        except OSError as error:
            raise refused(error) from error

    def _read(self, uri: str, revision: str, read: Callable[[BinaryIO], bytes]) -> bytes:
        try:
            with open(path_of(uri), "rb") as file:  # noqa: PTH123  # a path of bytes, which pathlib does not take
                data = read(file)
                found = _revision(os.fstat(file.fileno()))
        except FileNotFoundError:
            raise ReadFailed(ErrorCode.NOT_FOUND, "gone since it was listed") from None
        except PermissionError as error:
            raise ReadFailed(ErrorCode.FORBIDDEN, str(error.strerror)) from error
        except OSError as error:
            raise ReadFailed(ErrorCode.READ_FAILED, str(error.strerror)) from error
        if found != revision:
            raise ReadFailed(ErrorCode.CHANGED, f"changed since it was listed: {revision} is now {found}")
        return data

    def _files(self) -> Iterator[SourceObject]:
        for parent, folders, names in os.walk(os.fsencode(self.path), onerror=_refuse):
            folders[:] = sorted({*folders} - moved_aside(parent) if os.fsencode(OWN) in folders else folders)
            for name in sorted(names):
                one = self._object(os.path.join(parent, name))  # noqa: PTH118  # bytes again
                if one is not None:
                    yield one

    def _object(self, path: bytes) -> SourceObject | None:
        key = os.path.relpath(path, os.fsencode(self.path)).decode("utf-8", "backslashreplace")
        return file_object(path, self.uri, key)


def file_object(path: bytes, source: str, key: str) -> SourceObject | None:
    """Return a regular file as an object; None for what is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # bytes again
    except OSError:
        return None  # gone since its folder was read, or a link to nothing: it holds no object
    if not stat.S_ISREG(status.st_mode):
        return None
    return SourceObject(
        source=source,
        uri=_uri(path),
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


def _refuse(error: OSError) -> None:
    raise refused(error)


def refused(error: OSError) -> SourceError:
    """Return the error for a folder, or a file that is one, of which nobody can tell what it holds."""
    return SourceError(
        f"Cannot list {error.filename!r}: {error.strerror}.",
        "What lies in it could be neither embedded nor accounted for.",
        "Allow reading it, or move it out of the source.",
    )
