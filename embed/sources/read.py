"""What reading one object gives: its bytes, or the outcome that its row will carry."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from store.extra_columns import UserList
from store.records import ErrorCode, Outcome, SourceObject, failed

MAX_BYTES = 512 * 1024 * 1024
"""A larger object is no photo, and a few of them at once would fill a pod's memory."""


@dataclass(frozen=True)
class Fetched:
    """The whole content of one object, and the S3 version that was read."""

    data: bytes
    version_id: str | None = None


class ReadFailed(Exception):
    """One object could not be read; its row carries the outcome."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        """Keep the outcome."""
        super().__init__(detail)
        self.outcome: Outcome = failed(code, detail)


class Unavailable(ReadFailed):
    """The service is at fault, not the object: what failed now may work later. `slow_down` is its own wish."""

    def __init__(self, detail: str, *, slow_down: bool = False) -> None:
        """Keep what the service said; whoever does not try again has an object that could not be read."""
        super().__init__(ErrorCode.READ_FAILED, detail)
        self.slow_down = slow_down


def refuse_large(size_bytes: int) -> None:
    """Raise ReadFailed for an object over MAX_BYTES, before any of it is read."""
    if size_bytes > MAX_BYTES:
        raise ReadFailed(ErrorCode.TOO_LARGE, f"{size_bytes:,} bytes, over the limit of {MAX_BYTES:,}")


class Source(Protocol):
    """A set of objects that can be listed and read."""

    @property
    def uri(self) -> str:
        """The source's own URI: it ends in a slash and every object's URI starts with it, or it names a list."""

    @property
    def readers(self) -> int:
        """How many reads at once are worth while."""

    @property
    def covers(self) -> Callable[[str], bool] | None:
        """Whether a listing would have found an object of this URI, were it there; None where it finds everything."""

    @property
    def extra_columns(self) -> UserList | None:
        """What a list says beside the URIs, once every page was taken; None where there is nothing."""

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every object, some at a time; raise SourceError where listing is refused."""

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object; raise ReadFailed with an outcome where only this object is at fault."""
