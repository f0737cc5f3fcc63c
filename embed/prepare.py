"""One object to model-ready pixels, on a worker thread: read, decode, shrink. A bad image becomes an outcome."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from threading import BoundedSemaphore, Condition

import numpy as np
import numpy.typing as npt
from PIL import Image

from embed.decode import Refused, decode
from embed.progress import Tally
from embed.sources import Fetched, ReadFailed, Source
from embed.thumbnails import thumbnail
from store.records import EMBEDDED, NOT_AN_IMAGE, ImageFacts, Outcome, SourceObject


@dataclass(frozen=True)
class Prepared:
    """One object after reading and decoding. `pixels` is (3, H, W) uint8, present where the outcome is embedded."""

    source_object: SourceObject
    outcome: Outcome
    facts: ImageFacts | None = None
    version_id: str | None = None
    sha256: str | None = None
    pixels_sha256: str | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    thumbnail: bytes | None = None


class Budget:
    """Bounds the memory of a job: at most so many objects, and so many bytes of them, between listing and encoding."""

    def __init__(self, objects: int, size_bytes: int) -> None:
        """Start with nothing taken."""
        self._objects, self._bytes = objects, size_bytes
        self._free_objects, self._free_bytes = objects, size_bytes
        self._changed = Condition()
        self._closed = False

    def take(self, size_bytes: int) -> bool:
        """Wait until there is room for one object; return False once the budget is closed.

        An object larger than the whole budget is let through alone.
        """
        size_bytes = min(size_bytes, self._bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._free_objects > 0 and self._free_bytes >= size_bytes))
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
            self._changed.notify_all()

    def close(self) -> None:
        """Let every waiting `take` return False."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Preparer:
    """Prepares objects of one source for one encoder."""

    source: Source
    resize: Callable[[Image.Image], npt.NDArray[np.uint8]]
    tally: Tally
    cores: BoundedSemaphore  # as many decodes at once as there are cores, however many reads
    thumbnails: bool = True

    def __call__(self, wanted: SourceObject) -> Prepared:
        """Return the object with its pixels, or with the reason why there are none."""
        if wanted.size_bytes == 0 and wanted.key.endswith("/"):
            return Prepared(wanted, NOT_AN_IMAGE)  # the mark of a folder, as S3 consoles make them
        try:
            with self.tally.stage("read"):
                fetched = self.source.fetch(wanted)
        except ReadFailed as error:
            return Prepared(wanted, error.outcome)
        self.tally.add_bytes(len(fetched.data))
        with self.cores, self.tally.stage("decode"):
            return self._decoded(wanted, fetched)

    def _decoded(self, wanted: SourceObject, fetched: Fetched) -> Prepared:
        sha256 = hashlib.sha256(fetched.data).hexdigest()
        try:
            decoded = decode(fetched.data)
        except Refused as error:
            return Prepared(wanted, error.outcome, error.facts, fetched.version_id, sha256)
        small = thumbnail(decoded.image) if self.thumbnails else None
        pixels = self.resize(decoded.image)
        return Prepared(
            wanted,
            EMBEDDED,
            decoded.facts,
            fetched.version_id,
            sha256,
            pixels_sha256=_sha256_of_pixels(decoded.image),
            pixels=pixels,
            thumbnail=small,
        )


def _sha256_of_pixels(image: Image.Image) -> str:
    """Return the sha256 of the size and the upright RGB pixels: two files that show the same have the same.

    It costs about a tenth of decoding, shrinking and the thumbnail.
    """
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
