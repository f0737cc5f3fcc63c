"""What a job and a process that decodes for it say to each other: lines of JSON, and an arena of shared memory.

The arena begins with the bytes of the object; what is made of them follows: the pixels, then the thumbnail. Lines come
from a process that has parsed hostile bytes, so they are JSON and not pickles, and are read with care.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from embed.decoders.memory import BYTES_PER_PIXEL, UNASKED_BYTES
from embed.decoders.settings import Settings
from embed.geometry import Geometry
from store.records import ErrorCode, ImageFacts, Outcome, Status, failed

THUMBNAIL_BYTES = 1 << 17
"""Room for a WebP of 160 x 160 px: more than its raw pixels take."""

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Task:
    """One object that lies in the arena."""

    size_bytes: int
    arena_bytes: int
    settings: Settings

    def line(self) -> bytes:
        """Return the task as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> "Task":
        """Return the task of a line."""
        fields = json.loads(line)
        settings = fields.pop("settings")
        geometry = Geometry(**settings.pop("geometry"))
        return cls(settings=Settings(geometry, **settings), **fields)


_PLAIN = ("sha256", "pixels_sha256", "pixels_bytes", "thumbnail_bytes", "for_device")


@dataclass(frozen=True)
class Answer:
    """What became of it, but for the bytes that lie in the arena."""

    outcome: Outcome
    facts: ImageFacts | None
    sha256: str | None
    pixels_sha256: str | None
    pixels_bytes: int
    thumbnail_bytes: int
    for_device: bool = False

    def line(self) -> bytes:
        """Return the answer as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Answer":
        """Return the answer of a line's fields; raise what is raised where they are none."""
        said, facts = fields["outcome"], fields["facts"]
        code = said["error_code"]
        outcome = Outcome(Status(said["status"]), ErrorCode(code) if code else None, said["error_detail"])
        known = {name: fields[name] for name in _PLAIN}
        return cls(outcome=outcome, facts=ImageFacts(**facts) if facts else None, **known)


def bytes_needed(facts: ImageFacts) -> int:
    """Return what decoding a picture may take, 0 where that is too little to be asked for."""
    needed = facts.width_px * facts.height_px * BYTES_PER_PIXEL
    return needed if needed > UNASKED_BYTES else 0


def over_memory(facts: ImageFacts, needed: int) -> Outcome:
    """Return the outcome of a picture that alone takes more than the job may have."""
    size = f"{facts.width_px} x {facts.height_px}"
    return failed(ErrorCode.DECOMPRESSION_BOMB, f"{size}: decoding it may take {needed / 1e6:,.0f} MB, over --memory")


def place_of_results(size_bytes: int) -> int:
    """Return where in the arena the results begin, after an object of so many bytes."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
