"""Places that hold files: a folder or an S3 prefix, with the same few verbs and the same promises.

A write is atomic: a reader sees the whole file or none. `create` never replaces. Names use `/` on every system.
"""

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import duckdb

from store.errors import LocationError, NotNow, RunExists

AWAY = {
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO, errno.EAGAIN, errno.EBUSY),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.ENOLINK),
}
"""What NFS, CIFS and FUSE answer while their server is away. A bad disk says EIO too, of one file and for ever."""

MEND = "Mend the mount or the disk, then run the same command again."
"""What to do where it stays away."""

_TEMPORARY_SUFFIX = ".tmp"
LEFTOVER_AGE_S = 3600
"""Writing one file takes seconds, so a temporary file this old has lost its process."""


@dataclass(frozen=True)
class Entry:
    """A file at a location: its name below the location, and its size."""

    name: str
    size_bytes: int


class Location(Protocol):
    """A folder or an S3 prefix. Every method raises LocationError where the place refuses."""

    @property
    def uri(self) -> str:
        """The place as a user would type it, without a trailing slash."""

    def child(self, name: str) -> "Location":
        """Return the location one folder below."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for random access."""

    def files(self, folder: str = "") -> list[Entry]:
        """Return every file below `folder`, at any depth, sorted by name."""

    def folders(self) -> list[str]:
        """Return the names of the folders directly here, sorted."""

    def write(self, name: str, data: bytes | Path) -> None:
        """Write a file atomically, replacing one of that name; a Path is copied from local disk."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file only where there is none of that name; return whether it was written."""

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""

    def stage(self, last: str) -> AbstractContextManager[Path]:
        """Give a local folder; its files become visible here when the block ends well, the one named `last` last.

        Raise RunExists where this location already holds something.
        """

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-written, where this place keeps such things visible."""

    def duckdb_path(self, name: str) -> str:
        """Return the path under which a connection that was given to `attach` reads this file."""

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read files here."""

    def public_glob(self, folder: str) -> str:
        """Return the pattern of the Parquet files below a folder, as any DuckDB client understands it."""

    def attach_public(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read what `public_glob` names, as a client with its own means would."""


class FolderLocation:
    """A folder on a local or mounted disk."""

    def __init__(self, path: Path) -> None:
        """Name a folder; it need not exist yet."""
        self._path = path

    @property
    def uri(self) -> str:
        """The folder's path."""
        return str(self._path)

    def child(self, name: str) -> "FolderLocation":
        """Return the folder below."""
        return FolderLocation(self._path / name)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return (self._path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refused("read", self._path / name, error) from error

    def open(self, name: str) -> BinaryIO:
        """Open a file for random access."""
        try:
            return (self._path / name).open("rb")
        except OSError as error:
            raise _refused("read", self._path / name, error) from error

    def files(self, folder: str = "") -> list[Entry]:
        """Return every file below `folder`, at any depth, sorted by name, without files still being written."""
        found = _files_below(self._path / folder, f"{folder}/" if folder else "")
        return sorted(found, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """Return the names of the folders directly here, sorted."""
        try:
            return sorted(entry.name for entry in os.scandir(self._path) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _refused("list", self._path, error) from error

    def write(self, name: str, data: bytes | Path) -> None:
        """Write beside the target, flush to disk, then rename: killed at any moment, the target is whole or absent."""
        with self._temporary(name, data) as temporary:
            temporary.replace(self._path / name)
            _sync_folder((self._path / name).parent)

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file only where there is none of that name; return whether it was written."""
        with self._temporary(name, data) as temporary:
            try:
                os.link(temporary, self._path / name)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                if (self._path / name).exists():
                    return False
                temporary.replace(self._path / name)
            _sync_folder((self._path / name).parent)
        return True

    def remove(self, name: str) -> None:
        """Remove a file if it exists, and its folder where that leaves it empty."""
        path = self._path / name
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    @contextlib.contextmanager
    def stage(self, last: str) -> Iterator[Path]:  # noqa: ARG002  # one rename shows all files at once
        """Give a folder beside this one, which is renamed to this one when the block ends well."""
        self._refuse_occupied()
        staged = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
        was_there = staged.parent.exists()
        try:
            staged.mkdir(parents=True)
            yield staged
            self._refuse_occupied()
            staged.replace(self._path)
        except OSError as error:
            raise _refused("write", self._path, error) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            if not was_there:
                with contextlib.suppress(OSError):  # it holds what was staged, or another run
                    staged.parent.rmdir()

    def remove_leftovers(self) -> None:
        """Remove temporary files that nobody has written to for LEFTOVER_AGE_S."""
        for path in self._path.rglob(f".*{_TEMPORARY_SUFFIX}"):
            with contextlib.suppress(OSError):  # removed by another job, or in use by one
                if path.is_file() and time.time() - path.stat().st_mtime > LEFTOVER_AGE_S:
                    path.unlink()

    def duckdb_path(self, name: str) -> str:
        """Return the file's path with DuckDB's glob characters escaped."""
        return glob_escaped(str(self._path / name))

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: DuckDB reads local files by itself."""

    def public_glob(self, folder: str) -> str:
        """Return the pattern of the Parquet files below a folder, absolute."""
        return f"{glob_escaped(str(self._path / folder))}/**/*.parquet"

    def attach_public(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing, as `attach`."""

    def _refuse_occupied(self) -> None:
        if self._path.exists() and (not self._path.is_dir() or any(self._path.iterdir())):
            raise occupied(self.uri)

    @contextlib.contextmanager
    def _temporary(self, name: str, data: bytes | Path) -> Iterator[Path]:
        target = self._path / name
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                for block in _blocks(data):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        except OSError as error:
            raise _refused("write", target, error) from error
        finally:
            with contextlib.suppress(OSError):  # it would hide the error that is on its way
                temporary.unlink()


def _files_below(folder: Path | str, prefix: str) -> Iterator[Entry]:
    """Yield every file below a folder, its name after `prefix`; every question lists the store, so this is quick."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_dir():
                    if not entry.name.endswith(_TEMPORARY_SUFFIX):
                        with contextlib.suppress(FileNotFoundError):
                            yield Entry(prefix + entry.name, entry.stat().st_size)
                elif not entry.is_symlink():
                    yield from _files_below(entry.path, f"{prefix}{entry.name}/")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _refused("list", Path(folder), error) from error


def glob_escaped(path: str) -> str:
    """Return a path in which nothing is a pattern to DuckDB."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def occupied(uri: str) -> RunExists:
    """Return the error for a run that would overwrite something."""
    return RunExists(
        f"{uri} already holds something.",
        "A run is never overwritten: others may rely on it.",
        "Give --to another place.",
    )


def _blocks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as file:
        while block := file.read(1 << 24):
            yield block


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; systems that cannot open a folder do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refused(verb: str, path: Path, error: OSError) -> LocationError:
    if error.errno in AWAY:
        return NotNow(
            f"Cannot {verb} {path}: {error.strerror}.",
            "Nothing half-written is left behind.",
            MEND,
        )
    return LocationError(
        f"Cannot {verb} {path}: {error.strerror or error}.",
        "Nothing half-written is left behind.",
        "Free some space or mend the permissions, then run the same command again.",
    )
