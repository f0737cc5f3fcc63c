"""How pictures are made of bytes; the same for every object of a job."""

from dataclasses import dataclass

from embed.geometry import Geometry

TIMEOUT_S = 120.0
"""No picture of the size that is let in takes nearly so long."""


@dataclass(frozen=True)
class Settings:
    """What a decoder has to know."""

    geometry: Geometry
    thumbnails: bool = True
    draft_px: int | None = None  # a JPEG may be decoded at a fraction that keeps its shortest side at least so long
    for_device: bool = False  # a JPEG that a device can decode is only looked at, see `embed/jpegs.py`
    timeout_s: float = TIMEOUT_S
