"""Other jobs at work on the same store: what they finish meanwhile is not begun here any more.

A job that is alone takes objects in the order of their keys. One that finds parts of another's takes them at random
from then on, as the other one does, so that they seldom meet: what both have in hand then is embedded twice, and no
more. Shards have their work divided already, and look for nobody.
"""

import random
import time
from collections import deque
from collections.abc import Iterator, Sequence

from embed.backlog import Backlog
from embed.progress import Tally
from store.again import Again
from store.ledger import Newcomers
from store.records import SourceObject
from store.shards import WHOLE, Shard


class Company:
    """What is left to do for a job that may not be alone; used by one thread at a time."""

    SHARE = 50
    """One part in so many of the time goes into looking, at most: a large store on S3 lists for seconds."""

    def __init__(self, newcomers: Newcomers, backlog: Backlog, tally: Tally, shard: Shard, again: Again) -> None:
        """Look for others when this job has written a part, and not much more often than that is quick."""
        self._newcomers, self._backlog, self._tally, self._again = newcomers, backlog, tally, again
        self._alone_for_sure = shard != WHOLE
        self._parts, self._not_before = 0, float("-inf")

    def left_of(self, page: Sequence[SourceObject]) -> Iterator[SourceObject]:
        """Yield the objects of a page, without those that others finish before it is their turn."""
        left = self._pending(page)
        while left:
            if self._is_due() and self._look():
                self._backlog.scatter()
                left = self._pending(left)
                continue
            yield left.popleft()

    def _is_due(self) -> bool:
        is_new = not self._alone_for_sure and self._parts != self._tally.parts
        return is_new and time.monotonic() >= self._not_before

    def _look(self) -> bool:
        self._parts, began = self._tally.parts, time.monotonic()
        found = self._again(self._newcomers.look)
        now = time.monotonic()
        self._not_before = now + self.SHARE * (now - began)
        return found

    def _pending(self, objects: Sequence[SourceObject]) -> deque[SourceObject]:
        if not self._newcomers.found:
            return deque(objects)
        pending = self._newcomers.pending(objects)
        self._tally.add_done(len(objects) - len(pending))
        random.shuffle(pending)
        return deque(pending)
