"""Rows in, parts out: a part is written when it is full or old enough, so that little is lost and paid for twice."""

import time
from collections.abc import Sequence
from typing import Self

from embed.detect.looking import Looker
from embed.detect.request import DetectorOptions
from store.layout import EncoderStore
from store.measurements import Measurement, write_measurements


class Parts:
    """Writes the rows of one run. Leaving the block writes what is in hand, also after an error elsewhere."""

    def __init__(self, store: EncoderStore, looker: Looker, options: DetectorOptions, run_id: str) -> None:
        """Write the answers of `looker` into `store`."""
        self._store, self._detector, self._run_id = store, looker.record, run_id
        self._max_rows, self._max_age_s = options.part_images * len(looker.labels), options.part_age_s
        self._rows: list[Measurement] = []
        self._written = 0
        self._oldest = 0.0

    def add(self, rows: Sequence[Measurement]) -> None:
        """Take the rows of one image."""
        if not self._rows:
            self._oldest = time.monotonic()
        self._rows.extend(rows)
        if len(self._rows) >= self._max_rows or time.monotonic() - self._oldest >= self._max_age_s:
            self._write()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Write what is in hand."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        name = f"{self._run_id}-{self._written:05d}"
        self._written += 1
        write_measurements(self._store, self._detector, name, self._run_id, rows)
