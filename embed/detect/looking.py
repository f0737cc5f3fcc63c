"""What every detector does: half of the work on many threads, the other half for a batch on one."""

import os
from collections.abc import Sequence
from typing import Any, Protocol

from embed.decode import decode
from embed.detect.owl import Owl, Pixels
from embed.detect.reading import Reader, Wanted
from store.detector import Detector
from store.measurements import Sighting

Answer = tuple[str, dict[str, Sighting]]
"""The model, as it names itself, and what it saw by question."""


class Looker(Protocol):
    """A detector with its questions and its way to the images."""

    record: Detector
    labels: tuple[str, ...]  # every image gets a row for each, whatever becomes of it
    calls: tuple[str, ...]  # what is paid for each image
    batch_size: int
    readers: int
    reader: Reader

    @property
    def where(self) -> str:
        """Where it runs, for people."""

    def look(self, wanted: Wanted) -> Any:  # noqa: ANN401  # what `answer` takes
        """Read one image, on any thread; raise ReadFailed, Refused or ImageRefused where only it is at fault."""

    def answer(self, looked: Sequence[Any]) -> list[list[Answer]]:
        """Return the answers for what `look` returned, in its order, on one thread."""


class Local:
    """A detector on this machine."""

    calls: tuple[str, ...] = ()
    readers = min(4, os.cpu_count() or 1)

    def __init__(self, owl: Owl, reader: Reader, batch_size: int) -> None:
        """Look with a loaded model."""
        self._owl, self.reader, self.batch_size = owl, reader, batch_size
        self.record, self.labels = owl.record, owl.labels

    @property
    def where(self) -> str:
        """The device."""
        return self._owl.device

    def look(self, wanted: Wanted) -> Pixels:
        """Return the model's pixels of an image."""
        return self._owl.prepare(decode(self.reader.read(wanted.source_object).data).image)

    def answer(self, looked: Sequence[Pixels]) -> list[list[Answer]]:
        """Run the model over a batch."""
        return [[(self.record.model, seen)] for seen in self._owl.detect(looked)]
