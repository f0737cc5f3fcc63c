"""Pixels are gathered into batches, batches go to the device and come back, and what comes back becomes rows."""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from embed.encoders import ImageTower
from embed.prepare import Prepared
from embed.progress import Tally
from store.schema import ImageRow

if TYPE_CHECKING:
    from embed.encoders.flight import Pending

IN_FLIGHT = 2
"""Batches at the device at once: while it works at one the next one waits there, so it never waits for Python."""


class Batches:
    """The images that are decoded and have no row yet; used by one thread."""

    def __init__(self, tower: ImageTower, size: int, add: Callable[[ImageRow], None], tally: Tally) -> None:
        """Encode `size` images at a time, and hand each image's row to `add`."""
        self._tower, self._size, self._add, self._tally = tower, size, add, tally
        self._batch: list[Prepared] = []
        self._flying: deque[tuple[list[Prepared], Pending]] = deque()  # the oldest first

    @property
    def is_empty(self) -> bool:
        """Whether no image waits for a row."""
        return not self._batch and not self._flying

    def take(self, item: Prepared) -> None:
        """Take an image with pixels; a full batch leaves for the device."""
        self._batch.append(item)
        if len(self._batch) >= self._size:
            self._submit()
            self._land(IN_FLIGHT - 1)

    def finish(self) -> None:
        """Encode what there is, full or not, and wait for all of it."""
        if self._batch:
            self._submit()
        self._land(0)

    def _submit(self) -> None:
        batch, self._batch = self._batch, []
        pending = self._tower.submit([item.pixels for item in batch if item.pixels is not None])
        self._flying.append((batch, pending))

    def _land(self, left_flying: int) -> None:
        """Hand on what has come back, and wait until no more than so many batches are on their way."""
        while self._flying and (len(self._flying) > left_flying or self._flying[0][1].is_back):
            batch, pending = self._flying.popleft()
            for item, embedding in zip(batch, pending.result(), strict=True):
                self._add(image_row(item, embedding))
            self._tally.add_seconds("encode", pending.device_s)
            self._tally.embedded += len(batch)


def image_row(item: Prepared, embedding: np.ndarray | None) -> ImageRow:
    """Return the row of an object; its embedding where it has one."""
    return ImageRow(
        source_object=item.source_object,
        outcome=item.outcome,
        embedded_at=datetime.now(UTC),
        facts=item.facts,
        version_id=item.version_id,
        sha256=item.sha256,
        pixels_sha256=item.pixels_sha256,
        embedding=embedding,
        thumbnail=item.thumbnail,
    )
