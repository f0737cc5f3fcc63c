"""The threads that read: each takes one object after the other. An executor's futures would cost more than the rest."""

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread

from store.records import SourceObject


class Readers:
    """So many threads that do the same work with whatever is put."""

    def __init__(self, count: int, work: Callable[[SourceObject], None]) -> None:
        """Start them; `work` raises nothing."""
        self._wanted: SimpleQueue[SourceObject | None] = SimpleQueue()
        self._over = Event()
        # The threads alone know the work, so that what it holds, connections too, goes when they end.
        self._threads = [
            Thread(target=self._serve, args=(work,), name=f"reader_{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, wanted: SourceObject) -> None:
        """Let one of them work at this, when it comes to it."""
        self._wanted.put(wanted)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is begun."""
        return self._over.is_set()

    def close(self) -> None:
        """End when each has done what it has in hand; what nobody has begun is dropped."""
        self._over.set()
        for _ in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, work: Callable[[SourceObject], None]) -> None:
        while (wanted := self._wanted.get()) is not None:
            if self.is_closed:
                return
            work(wanted)
