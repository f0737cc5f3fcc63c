"""How many requests may be in flight at once: fewer when the service says slow down, more while it goes well."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ONCE_EVERY_S = 1.0
"""Requests that are in flight together are told to slow down together: that is one reason to do so, not many."""
_SHRINK = 0.7


class Pace:
    """A limit that many threads share; additive increase, multiplicative decrease.

    botocore's adaptive mode does this for the rate of one client, but it shrinks at every answer of that kind: where 2
    in 100 are refused whatever the rate, it settles at 20 to 30 requests/s, however fast the service is.
    """

    def __init__(self, most: int) -> None:
        """Start with `most` requests in flight, and never allow more."""
        self._most, self._limit, self._in_flight = most, float(most), 0
        self._shrunk_at = float("-inf")
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free place, and hold it."""
        with self._changed:
            while self._in_flight >= self.limit:
                self._changed.wait()
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify()

    def went_well(self) -> None:
        """Allow one more after as many good answers as are allowed at once."""
        if self._limit == self._most:
            return
        with self._changed:
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._changed.notify()

    def slow_down(self) -> None:
        """Allow fewer; asked for again within a second, it is the same wish."""
        with self._changed:
            now = time.monotonic()
            if now - self._shrunk_at >= _ONCE_EVERY_S:
                self._limit, self._shrunk_at = max(1.0, self._limit * _SHRINK), now
