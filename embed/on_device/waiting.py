"""The JPEGs of a job that a device is to decode: gathered, decoded, checked, and at first compared with full ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embed.decoders import Decoding
from embed.encoders import ImageTower
from embed.jpegs import MOST_PIXELS
from embed.on_device.decoder import DeviceDecoder, Jpeg
from embed.on_device.record import ANOTHER, OnDevice, together
from embed.prepare import Prepared
from embed.progress import Tally
from store.errors import ClipsieveError

PIXELS_AT_ONCE = 2 * MOST_PIXELS
"""Of pictures that are decoded together: 200 MB on the device, and as much again as the largest takes to be scaled."""

BYTES_AT_ONCE = 64 << 20
"""Of their files."""

COMPARED = 32
"""JPEGs of a job that are also decoded in full, before the first of them is embedded."""

STAGE = "decode_gpu"

_FLAT = 3.0
"""Levels by which a picture of one colour may differ from what the CPU has seen of it."""


@dataclass(frozen=True)
class Ways:
    """How a JPEG becomes pixels: by the device, and by the CPU where that refuses it; and who embeds them."""

    device: DeviceDecoder
    in_full: Decoding
    tower: ImageTower


class Waiting:
    """The JPEGs that wait for the device's decoder; used by one thread."""

    def __init__(self, ways: Ways, size: int, hand_on: Callable[[Prepared], None], tally: Tally) -> None:
        """Decode at most `size` at once, and hand each on, with its pixels or with the reason why there are none."""
        self._ways, self._size, self._hand_on, self._tally = ways, size, hand_on, tally
        self._items: list[Prepared] = []
        self._pixels = self._bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether no JPEG waits."""
        return not self._items

    def take(self, item: Prepared) -> None:
        """Take an image with its JPEG; when there are enough, all are decoded."""
        pixels, size = _pixels(item), len(item.jpeg or b"")
        if self._pixels + pixels > PIXELS_AT_ONCE or self._bytes + size > BYTES_AT_ONCE:
            self.finish()
        self._items.append(item)
        self._pixels += pixels
        self._bytes += size
        if len(self._items) >= self._size:
            self.finish()

    def finish(self) -> None:
        """Decode what waits, and hand it on."""
        items, self._items = self._items, []
        self._pixels = self._bytes = 0
        if not items:
            return
        with self._tally.stage(STAGE):
            found = self._ways.device([_jpeg(item) for item in items])
        made = [pixels if _shows(pixels, item.pixels) else None for item, pixels in zip(items, found, strict=True)]
        self._count(items, made)
        for item, pixels in zip(items, made, strict=True):
            self._hand_on(self._decoded_in_full(item) if pixels is None else replace(item, pixels=pixels, jpeg=None))

    def _count(self, items: Sequence[Prepared], made: Sequence[NDArray[np.uint8] | None]) -> None:
        before = self._tally.on_device or OnDevice()
        refused = sum(pixels is None for pixels in made)
        now = OnDevice(decoded=len(made) - refused, refused=refused)
        left = COMPARED - before.compared
        compared = self._compared(items[:left], made[:left]) if left > 0 else OnDevice()
        self._tally.on_device = together([before, now, compared])

    def _compared(self, items: Sequence[Prepared], made: Sequence[NDArray[np.uint8] | None]) -> OnDevice:
        """Decode images in full too; raise ClipsieveError where the device shows something else."""
        full, ours = [], []
        for item, pixels in zip(items, made, strict=True):
            whole = self._decoded_in_full(item).pixels if pixels is not None else None
            if pixels is not None and whole is not None:
                full.append(whole)
                ours.append(pixels)
        if not full:
            return OnDevice()
        apart = np.abs(np.stack(full).astype(np.int16) - np.stack(ours))
        cosine = _least_cosine(self._ways.tower.encode(full), self._ways.tower.encode(ours))
        found = OnDevice(0, 0, len(full), float(apart.mean()), int(apart.max()), cosine)
        if cosine < ANOTHER:
            raise ClipsieveError(
                f"This device decodes JPEGs to other pictures. {found.sentence}",
                f"Below {ANOTHER} a picture would be no near-duplicate of itself, so none of these was embedded.",
                "Use --decode full; a newer driver, torch and torchvision may mend it.",
            )
        return found

    def _decoded_in_full(self, item: Prepared) -> Prepared:
        with self._ways.in_full.place() as place, self._tally.stage("decode"):
            made = self._ways.in_full.make(item.jpeg or b"", place)
        return replace(
            item,
            outcome=made.outcome,
            facts=made.facts,
            pixels_sha256=made.pixels_sha256,
            pixels=made.pixels,
            thumbnail=made.thumbnail,
            jpeg=None,
        )


def _jpeg(item: Prepared) -> Jpeg:
    return Jpeg(item.jpeg or b"", item.facts.exif_orientation if item.facts else None)


def _pixels(item: Prepared) -> int:
    return item.facts.width_px * item.facts.height_px if item.facts else 0


def _shows(pixels: NDArray[np.uint8] | None, seen: NDArray[np.uint8] | None) -> bool:
    """Whether a device's pixels show what the CPU has seen in a small decode of the same bytes.

    A decoder in hardware can leave a picture out and say that it has done it. What it then leaves is as far from the
    picture as the picture is from its own mean, and a right one is much nearer. One pixel of 16 tells it.
    """
    if pixels is None or seen is None:
        return False
    wanted, found = (some[:, ::4, ::4].astype(np.float32) for some in (seen, pixels))
    spread = np.abs(wanted - wanted.mean()).mean()
    return bool(np.abs(wanted - found).mean() <= _FLAT + spread / 2)


def _least_cosine(some: NDArray[np.float16], others: NDArray[np.float16]) -> float:
    """Return the least cosine between rows of (B, D) and the same of (B, D)."""
    ones, twos = some.astype(np.float32), others.astype(np.float32)
    lengths = np.linalg.norm(ones, axis=1) * np.linalg.norm(twos, axis=1)
    return min(1.0, float(((ones * twos).sum(axis=1) / lengths).min()))
