"""What is listed and not yet begun: on local disk, so that listing runs ahead of embedding in flat memory.

A listing that is complete early tells early how much there is to do, and is in the store should the job be killed.
"""

import pickle  # read back by the process that wrote it, from a file without a name
import tempfile
from collections.abc import Iterator, Sequence
from threading import Condition

from store.records import SourceObject


class Backlog:
    """A queue of pages of objects: one thread puts, one takes."""

    def __init__(self) -> None:
        """Open the file; it has no name and goes with the process."""
        self._file = tempfile.TemporaryFile(prefix="clipsieve-backlog-")  # noqa: SIM115  # closed with this object
        self._changed = Condition()
        self._written = self._read = 0  # bytes
        self._ended = False

    def put(self, page: Sequence[SourceObject]) -> None:
        """Add a page."""
        if not page:
            return
        with self._changed:
            self._file.seek(self._written)
            pickle.dump(list(page), self._file, pickle.HIGHEST_PROTOCOL)
            self._written = self._file.tell()
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no page will follow."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drop the file; nobody may put or take any more."""
        self._file.close()

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield the pages in order, waiting for each, until the backlog is ended and empty."""
        while (page := self._take()) is not None:
            yield page

    def _take(self) -> list[SourceObject] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._read < self._written)
            if self._read == self._written:
                return None
            self._file.seek(self._read)
            page: list[SourceObject] = pickle.load(self._file)  # noqa: S301  # as above
            self._read = self._file.tell()
            return page
