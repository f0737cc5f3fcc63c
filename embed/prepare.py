"""One object to model-ready pixels, on a worker thread: read, decode, shrink. A bad image becomes an outcome."""

from dataclasses import dataclass
from threading import Condition

import numpy as np
import numpy.typing as npt

from embed.decoders import Decoding
from embed.patience import Reads
from embed.progress import Tally
from embed.sources import Fetched, ReadFailed
from store.records import NOT_AN_IMAGE, ImageFacts, Outcome, SourceObject

WOKEN_PARTS = 8
"""One part in so many of a budget's objects must be free before the feeder goes on."""


@dataclass(frozen=True)
class Prepared:
    """One object after reading and decoding. `pixels` is (3, H, W) uint8, present where the outcome is embedded.

    Where `jpeg` is there, a device is still to make the pixels of it; until then they only show what it must look like.
    """

    source_object: SourceObject
    outcome: Outcome
    facts: ImageFacts | None = None
    version_id: str | None = None
    sha256: str | None = None
    pixels_sha256: str | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    thumbnail: bytes | None = None
    jpeg: bytes | None = None


class Budget:
    """Bounds the memory of a job: at most so many objects, and so many bytes of them, between listing and encoding."""

    def __init__(self, objects: int, size_bytes: int) -> None:
        """Start with nothing taken."""
        self._objects, self._bytes = objects, size_bytes
        self._free_objects, self._free_bytes = objects, size_bytes
        self._enough = 1 + objects // WOKEN_PARTS
        self._changed = Condition()
        self._closed = False

    def take(self, size_bytes: int) -> bool:
        """Wait until there is room for one object; return False once the budget is closed.

        An object larger than the whole budget is let through alone. Whoever has to wait does so until there is room for
        several: to be woken for each costs more than all else that this does.
        """
        size_bytes = min(size_bytes, self._bytes)
        with self._changed:
            if self._free_objects <= 0 or self._free_bytes < size_bytes:
                self._changed.wait_for(
                    lambda: self._closed or (self._free_objects >= self._enough and self._free_bytes >= size_bytes)
                )
            if self._closed:
                return False
            self._free_objects -= 1
            self._free_bytes -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Return what `take` took."""
        with self._changed:
            self._free_objects += 1
            self._free_bytes += min(size_bytes, self._bytes)
            if self._free_objects >= self._enough:
                self._changed.notify_all()

    def close(self) -> None:
        """Let every waiting `take` return False."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Preparer:
    """Prepares objects of one source for one encoder."""

    reads: Reads
    decoding: Decoding
    tally: Tally

    def __call__(self, wanted: SourceObject) -> Prepared:
        """Return the object with its pixels, or with the reason why there are none."""
        if wanted.size_bytes == 0 and wanted.key.endswith("/"):
            return Prepared(wanted, NOT_AN_IMAGE)  # the mark of a folder, as S3 consoles make them
        try:
            with self.tally.stage("read"):
                fetched = self.reads.fetch(wanted)
        except ReadFailed as error:
            return Prepared(wanted, error.outcome)
        self.tally.add_bytes(len(fetched.data))
        return self._decoded(wanted, fetched)

    def _decoded(self, wanted: SourceObject, fetched: Fetched) -> Prepared:
        with self.decoding.place() as place, self.tally.stage("decode"):
            made = self.decoding.make(fetched.data, place)
        return Prepared(
            wanted,
            made.outcome,
            made.facts,
            fetched.version_id,
            made.sha256,
            made.pixels_sha256,
            made.pixels,
            made.thumbnail,
            fetched.data if made.for_device else None,
        )
