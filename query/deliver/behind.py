"""Work that follows its caller: in order, in one thread of its own, and never far behind."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any, Self


class Behind:
    """Does one thing after another beside its caller, who waits where `most` of them are left to do."""

    def __init__(self, most: int) -> None:
        """Start nothing yet."""
        self._pool = ThreadPoolExecutor(1, "behind")
        self._room = BoundedSemaphore(most)
        self._failure: BaseException | None = None

    def do(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do this after all that was given before; raise what has failed meanwhile."""
        self._room.acquire()
        self.check()
        self._pool.submit(self._run, work, arguments)

    def check(self) -> None:
        """Raise what has failed."""
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wait until everything is done; raise what has failed, where nothing else has."""
        self._pool.shutdown()
        if error is None:
            self.check()

    def _run(self, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        try:
            if self._failure is None:
                work(*arguments)
        except BaseException as error:  # noqa: BLE001  # the caller raises it
            self._failure = error
        finally:
            self._room.release()
