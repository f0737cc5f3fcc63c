"""Rows in, parts out: a part is written when it is full or old enough, beside the work that goes on."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from threading import Event
from types import TracebackType
from typing import Self

from embed.freed import give_back_freed_memory
from embed.patience import OUTAGE_S, patiently
from embed.progress import Tally
from store.errors import NotNow
from store.layout import EncoderStore
from store.parts import write_images
from store.schema import ImageRow

WAITING_PARTS = 4
"""So many parts' rows may wait in memory while the store is away, before the work stops and waits too."""


class PartWriter:
    """Writes the rows of one job. Leaving the block writes what is in hand, also after an error elsewhere."""

    def __init__(
        self,
        store: EncoderStore,
        run_id: str,
        limits: tuple[int, float],
        tally: Tally,
        patience_s: float = OUTAGE_S,
    ) -> None:
        """Write into `store`; `limits` are the rows and the seconds after which a part is written.

        A store that does not answer is tried again for `patience_s`.
        """
        self._store, self._run_id, self._tally, self._patience_s = store, run_id, tally, patience_s
        self._max_rows, self._max_age_s = limits
        self._rows: list[ImageRow] = []
        self._oldest = 0.0
        self._parts = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writing: Future[None] | None = None
        self._hurry = Event()
        self._away = False

    def add(self, row: ImageRow) -> None:
        """Take one row."""
        if not self._rows:
            self._oldest = time.monotonic()
        self._rows.append(row)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Start a new part where the one in hand is full or old; raise what went wrong with the one before.

        While the store is away, rows gather and the work goes on, until they grow too many.
        """
        if self._away and len(self._rows) < WAITING_PARTS * self._max_rows:
            return
        if len(self._rows) >= self._max_rows or (self._rows and time.monotonic() - self._oldest >= self._max_age_s):
            self._start_writing()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Write what is in hand and wait for it; after an error nobody waits for a store that is away."""
        if kind is not None:
            self._hurry.set()
        try:
            with suppress(NotNow) if kind is not None else nullcontext():
                while self._rows:
                    self._start_writing()
                self._wait()
        finally:
            self._thread.shutdown()

    def _start_writing(self) -> None:
        self._wait()
        rows, self._rows = self._rows[: self._max_rows], self._rows[self._max_rows :]
        self._oldest = time.monotonic()
        name = f"{self._run_id}-{self._parts:05d}"
        self._parts += 1
        self._writing = self._thread.submit(self._write, name, rows)

    def _write(self, name: str, rows: list[ImageRow]) -> None:
        with self._tally.stage("write"):
            patiently(lambda: self._try(name, rows), self._patience_s, self._hurry)
            self._tally.parts += 1
            rows.clear()  # which whoever waits for this holds too
            give_back_freed_memory()

    def _try(self, name: str, rows: list[ImageRow]) -> None:
        try:
            write_images(self._store, name, self._run_id, rows)
        except NotNow:
            self._away = True
            raise
        self._away = False

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()
