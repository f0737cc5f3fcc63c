"""A source's folder on disk: names as URIs spell them, and renames that replace nothing."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from store.aside import OWN as OWN  # noqa: PLC0414  # at home here too
from store.errors import LocationError, UsageError

_BLOCK_BYTES = 1 << 20
_MICROSECOND_NS = 1000


def plain(path: str) -> str:
    """Return a percent-encoded path as the system spells it."""
    return os.fsdecode(unquote_to_bytes(path))


def encoded(path: str) -> str:
    """Return a path percent-encoded, as in URIs."""
    return quote(os.fsencode(path))


def root_of(source: str) -> Path:
    """Return the folder that a `file://` URI means; raise UsageError where it is none."""
    root = Path(plain(source.removeprefix("file://")))
    if not root.is_dir():
        raise UsageError(
            f"There is no folder {root}, in which the run was judged.",
            do="Run this where the images lie, under the same path.",
        )
    return root


def is_known(row: dict[str, Any]) -> bool:
    """Whether the run says which file was judged; of an image whose vector was imported it does not."""
    if row["revision"] is not None:
        return not row["revision"].startswith("vector-")
    return row["size_bytes"] is not None and row["last_modified"] is not None


def is_judged(status: os.stat_result, row: dict[str, Any]) -> bool:
    """Whether a file still has the size and the time of change that it had when it was judged."""
    if row["revision"] is not None:
        return bool(row["revision"] == f"{status.st_size}-{status.st_mtime_ns}")
    judged: datetime = row["last_modified"]
    apart_ns = abs(status.st_mtime_ns - round(judged.astimezone(UTC).timestamp() * 1e6) * _MICROSECOND_NS)
    return status.st_size == row["size_bytes"] and apart_ns <= 2 * _MICROSECOND_NS


def rename(path: Path, to: Path) -> None:
    """Rename a file to a name that is free; raise FileExistsError where it is not."""
    if os.path.lexists(to):
        raise FileExistsError(f"{to} is there already")
    path.rename(to)


def sha256(path: Path) -> str | None:
    """Return the sha256 of a file, or None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None


def keep_original(path: Path, backup: Path) -> None:
    """Let a second name hold a file's present content, unless an older content is kept already."""
    if backup.exists():
        return
    backup.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, backup)
    except OSError:  # a file system without hard links
        temporary = backup.with_name(f".{backup.name}.tmp")
        copy_with_times(path, temporary)
        temporary.replace(backup)
    sync(backup.parent)


def copy_with_times(path: Path, to: Path) -> None:
    """Copy a file with its mode and times, and flush it to disk."""
    status = path.stat()
    with path.open("rb") as source, to.open("wb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    to.chmod(status.st_mode)
    os.utime(to, ns=(status.st_atime_ns, status.st_mtime_ns))


def sync(path: Path) -> None:
    """Flush a file or folder to disk; systems that cannot open a folder do without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def parents(path: str) -> list[str]:
    """Return the folders above a path, the nearest first, the root (`""`) last."""
    found = []
    while path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Be the only one that moves files below a root; raise LocationError where another is, or the disk refuses."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LocationError(
            f"Another process moves files below {root}.", do="Wait for its end, then run the same command again."
        ) from error
    except OSError as error:
        raise LocationError(
            f"Cannot go on below {root}: {error.strerror or error} ({error.filename}).",
            "What was done is in the journal.",
            "Mend that, then run the same command again, or `clipsieve undo` the run.",
        ) from error
    finally:
        os.close(descriptor)
