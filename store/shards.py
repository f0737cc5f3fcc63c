"""Shares of the work: by the image's id, so that n jobs need no coordinator and cover everything exactly once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from store.errors import UsageError
from store.records import SourceObject


@dataclass(frozen=True)
class Shard:
    """One of `count` shares, numbered from 1: the images whose id's first 64 bits leave `number - 1` by `count`."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, words: str) -> "Shard":
        """Return what `i/n` means; raise UsageError where it is no share."""
        found = re.fullmatch(r"(\d+)/(\d+)", words.strip())
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(
                f"{words!r} is no share of the work.",
                "Shares are numbered from 1, and every one must be run.",
                "Write --shard 1/4, then 2/4, 3/4 and 4/4 elsewhere.",
            )
        return cls(number, count)

    def __str__(self) -> str:
        """Return it as it is typed: `1/4`."""
        return f"{self.number}/{self.count}"

    def holds(self, first_halves: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Return (N,) bool: which ids, given their first 64 bits, are of this share."""
        return np.asarray(first_halves % np.uint64(self.count) == self.number - 1)

    def of(self, objects: Sequence[SourceObject]) -> list[SourceObject]:
        """Return the objects of this share, in their order."""
        if self.count == 1:
            return list(objects)
        return [one for one in objects if (one.image_id.int >> 64) % self.count == self.number - 1]


WHOLE = Shard()
"""All of it."""
