"""Who stays: going down a ranking, an image is kept unless one that is kept already is within the threshold.

So every removed image has a kept partner at or above the threshold, no two kept images are that close, and unlike
images are never chained together, as connected components would. Ranked totally, the answer is the only one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.integer]

_CHUNK = 1 << 20  # pairs that are turned into Python's numbers at a time


@dataclass(frozen=True)
class Edges:
    """Pairs of places in the ranking, 0 the best; sorted by the worse place, then the nearest pair first."""

    better: Places
    worse: Places
    cosine: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.worse)

    def at(self, threshold: float) -> "Edges":
        """Return the pairs at this cosine or more."""
        close = self.cosine >= np.float32(threshold)
        return Edges(self.better[close], self.worse[close], self.cosine[close])


@dataclass(frozen=True)
class Removed:
    """What goes, by place in the ranking: each image with the nearest of its kept partners, at a tie the better one."""

    place: Places
    partner: Places
    cosine: npt.NDArray[np.float32]


def removed(edges: Edges, images: int) -> Removed:
    """Return what is removed of so many ranked images."""
    kept = np.frombuffer(_kept(edges, images), bool)
    # Sorted as they are, the first pair of a removed image with a kept one is its nearest.
    decisive = np.flatnonzero(kept[edges.better])
    place, first = np.unique(edges.worse[decisive], return_index=True)
    chosen = decisive[first]
    return Removed(place, edges.better[chosen], edges.cosine[chosen])


def _kept(edges: Edges, images: int) -> bytearray:
    """Return one byte for each place, 1 where the image is kept.

    One walk through the pairs is enough, as all pairs of a better image with those before it come first: when a pair is
    met, whether its better image stays is settled.
    """
    kept = bytearray(b"\1") * images
    for better, worse in _walked(edges):
        if kept[better]:
            kept[worse] = 0
    return kept


def _walked(edges: Edges) -> Iterator[tuple[int, int]]:
    for start in range(0, len(edges), _CHUNK):
        some = slice(start, start + _CHUNK)
        yield from zip(edges.better[some].tolist(), edges.worse[some].tolist(), strict=True)


def components(edges: Edges, images: int) -> Places:
    """Return (images,) the least place of the connected component that each image is in.

    This is what chains: a is close to b and b to c, so a and c are one, however far apart. Only shown for comparison.
    """
    label = np.arange(images)
    better, worse = edges.better, edges.worse
    while len(better):
        low, high = np.minimum(label[better], label[worse]), np.maximum(label[better], label[worse])
        apart = low != high
        better, worse, low, high = better[apart], worse[apart], low[apart], high[apart]
        np.minimum.at(label, high, low)
        while (jumped := label[label]).tobytes() != label.tobytes():
            label = jumped
    return label
