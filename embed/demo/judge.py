"""How right scores are, where the truth is known."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from embed.demo.truth import Truth

BINS = 15

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Holds: TypeAlias = Callable[[Truth], bool]

ANSWERS: dict[str, Holds] = {
    "people": lambda truth: truth.people > 0,
    "mask": lambda truth: truth.mask == "worn",
    "sunglasses": lambda truth: truth.glasses == "sunglasses",
}
"""What each shipped concept asks, answered by the truth."""


def auc(scores: Floats, yes: Flags) -> float:
    """Return the chance that a scene where it holds scores above one where it does not; ties count half."""
    below = np.searchsorted(np.sort(scores[~yes]), scores[yes], "left")
    upto = np.searchsorted(np.sort(scores[~yes]), scores[yes], "right")
    return float((below + upto).mean() / 2 / max((~yes).sum(), 1))


def f1(scores: Floats, yes: Flags, threshold: float) -> float:
    """Return the harmonic mean of precision and recall at a threshold."""
    hits = ((scores >= threshold) & yes).sum()
    return float(2 * hits / max((scores >= threshold).sum() + yes.sum(), 1))


def calibration_error(scores: Floats, yes: Flags) -> float:
    """Return the expected calibration error over equal bins: https://arxiv.org/abs/1706.04599, equation 3."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = [abs(scores[bins == b].mean() - yes[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist())]
    return float(sum(gaps))
