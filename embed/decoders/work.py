"""What is made of the bytes of one object: decoded, hashed, made small. The same in a thread and in a process."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.decode import Refused, decode
from embed.decoders.settings import Settings
from embed.thumbnails import thumbnail
from store.records import EMBEDDED, ImageFacts, Outcome

Resize = Callable[[Image.Image], NDArray[np.uint8]]
Grant = Callable[[ImageFacts], None]


@dataclass(frozen=True)
class Made:
    """What came of the bytes of one object. `pixels` is (3, H, W) uint8, present where the outcome is embedded.

    `for_device`: they show the picture and are not its pixels, which a device is to make of the bytes.
    """

    outcome: Outcome
    facts: ImageFacts | None = None
    sha256: str | None = None
    pixels_sha256: str | None = None
    pixels: NDArray[np.uint8] | None = None
    thumbnail: bytes | None = None
    for_device: bool = False


def make(data: bytes, resize: Resize, grant: Grant, settings: Settings) -> Made:
    """Decode one object's bytes; `grant` is asked before pixels take memory, and may raise Refused."""
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        decoded = decode(data, grant, settings.draft_px, for_device=settings.for_device)
    except Refused as refused:
        return Made(refused.outcome, refused.facts, sha256)
    return Made(
        EMBEDDED,
        decoded.facts,
        sha256,
        None if decoded.reduced else _sha256_of_pixels(decoded.image),
        resize(decoded.image),
        thumbnail(decoded.image) if settings.thumbnails else None,
        decoded.for_device,
    )


def _sha256_of_pixels(image: Image.Image) -> str:
    """Return the sha256 of the size and the upright RGB pixels: two files that show the same have the same.

    It costs about a tenth of decoding, shrinking and the thumbnail.
    """
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()
