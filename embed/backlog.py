"""What is listed and not yet begun: on local disk, so that listing runs ahead of embedding in flat memory.

A listing that is complete early tells early how much there is to do, and is in the store should the job be killed.
"""

import io
import pickle  # read back by the process that wrote it, from a file without a name
import random
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from threading import Condition

from store.records import SourceObject


class Backlog:
    """A queue of pages of objects: one thread puts, one takes."""

    def __init__(self) -> None:
        """Open the file; it has no name and goes with the process."""
        self._file = tempfile.TemporaryFile(prefix="clipsieve-backlog-")  # noqa: SIM115  # closed with this object
        self._changed = Condition()
        self._places: deque[int] = deque()  # of the pages in the file
        self._ended = self._scattered = False

    def put(self, page: Sequence[SourceObject]) -> None:
        """Add a page."""
        if not page:
            return
        with self._changed:
            self._places.append(self._file.seek(0, io.SEEK_END))
            pickle.dump(list(page), self._file, pickle.HIGHEST_PROTOCOL)
            self._changed.notify_all()

    def end(self) -> None:
        """Say that no page will follow."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def scatter(self) -> None:
        """Give the pages at random from now on."""
        self._scattered = True

    def close(self) -> None:
        """Drop the file; nobody may put or take any more."""
        self._file.close()

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield the pages, in order unless scattered, waiting for each, until the backlog is ended and empty."""
        while (page := self._take()) is not None:
            yield page

    def _take(self) -> list[SourceObject] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._places)
            if not self._places:
                return None
            if self._scattered:
                self._places.rotate(-random.randrange(len(self._places)))  # noqa: S311  # no secret
            self._file.seek(self._places.popleft())
            page: list[SourceObject] = pickle.load(self._file)  # noqa: S301  # as above
            return page
