"""What a job and a process that decodes for it say to each other: lines of JSON, and an arena of shared memory.

The arena begins with the bytes of the object; what is made of them follows: the pixels, then the thumbnail. Lines come
from a process that has parsed hostile bytes, so they are JSON and not pickles, and are read with care. A task and an
answer are arrays, without names, and settings are said once: each image passes through the job's one core of Python.
"""

import json
from dataclasses import asdict, astuple, dataclass
from typing import Any

from embed.decoders.memory import BYTES_PER_PIXEL, UNASKED_BYTES
from embed.decoders.settings import Settings
from embed.geometry import Geometry
from store.records import EMBEDDED, ErrorCode, ImageFacts, Outcome, Status, failed

THUMBNAIL_BYTES = 1 << 17
"""Room for a WebP of 160 x 160 px: more than its raw pixels take."""

PAGE_BYTES = 4096


@dataclass(frozen=True)
class Task:
    """One object that lies in the arena. `settings` are said where they are not those of the task before."""

    size_bytes: int
    arena_bytes: int
    settings: Settings | None

    def line(self) -> bytes:
        """Return the task as a line."""
        said = json.dumps(asdict(self.settings)) if self.settings else "null"
        return f"[{self.size_bytes}, {self.arena_bytes}, {said}]\n".encode()

    @classmethod
    def read(cls, line: bytes) -> "Task":
        """Return the task of a line."""
        size_bytes, arena_bytes, said = json.loads(line)
        return cls(size_bytes, arena_bytes, Settings(Geometry(**said.pop("geometry")), **said) if said else None)


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
        return json.dumps(astuple(self)).encode() + b"\n"

    @classmethod
    def of(cls, said: list[Any]) -> "Answer":
        """Return the answer of a line; raise what is raised where it is none."""
        (status, code, detail), facts, *rest = said
        outcome = (
            EMBEDDED
            if status == Status.EMBEDDED
            else Outcome(Status(status), ErrorCode(code) if code else None, detail)
        )
        return cls(outcome, ImageFacts(*facts) if facts else None, *rest)


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
