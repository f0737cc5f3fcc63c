"""An upper bound of the cosine from few coordinates, so that most pairs are dismissed without looking at the rest.

Turn the unit vectors x, y into an orthonormal basis and cut after the first k coordinates: x = (a, r), y = (b, s), so
x.y = a.b + r.s <= a.b + |r||s| by Cauchy and Schwarz. With the length of the rest as one more coordinate the bound is
itself an inner product, (a, |r|).(b, |s|), of k + 1 columns instead of D: one matrix product bounds a whole block.
It is tight where the basis holds most of the vectors, so it is made of the principal directions of a sample. No pair
is lost, however bad the sample: a loose bound only leaves more pairs to look at.

Rounding. Coordinates and lengths are computed in float64 and stored as float32, lengths rounded up. Of a float32 inner
product of n terms, in any order and with or without fused multiply-add, the error is at most about n * 2**-24 times the
sum of |terms|, which is at most 1 for unit vectors (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). With
one rounding of each factor: (n + 4) * 2**-24. A limit lowered by this loses nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.duplicates.neighbors.cosine import ROUNDING

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

_LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
"""The cuts that are weighed, below D."""

# What a pair costs beside its matrix product, in columns of that product; bench/duplicates.py measures it.
_SCANNING = 14
_LOOKING = 6000
_CROWD = 25  # so many times as often must be looked within a neighbourhood
_FAR_OFF = 1e-12  # more than the float64 rounding of a squared length


@dataclass(frozen=True)
class Bound:
    """The first k directions of a basis; None stands for all of them, and then the bound is the cosine."""

    basis: Double | None  # (D, k) float64, orthonormal columns

    def low(self, units: Double) -> Single:
        """Return (N, k + 1) float32 of unit rows (N, D): the coordinates, and the length of the rest rounded up."""
        if self.basis is None:
            return units.astype(np.float32)
        coordinates = units @ self.basis
        rest = np.sqrt(np.maximum(1 - np.vecdot(coordinates, coordinates), 0) + _FAR_OFF)
        return np.column_stack([coordinates, np.nextafter(rest.astype(np.float32), np.float32(2))]).astype(np.float32)

    def columns(self, dim: int) -> int:
        """Return the columns of `low`."""
        return dim if self.basis is None else self.basis.shape[1] + 1


def limit(floor: float, terms: int) -> np.float32:
    """Return what a float32 inner product of so many terms reaches wherever the rounded cosine reaches the floor."""
    lowered = floor - ROUNDING - (terms + 4) * 2.0**-24
    return np.float32(np.nextafter(np.float32(lowered), np.float32(-2)))


def choose_bound(sample: Double, floor: float, *, crowded: bool = False) -> Bound:
    """Return the bound that makes comparing cheapest, judged by a sample (n, D) of unit rows in random order.

    Three quarters of it give the principal directions, the rest judges: the directions fit their own rows better than
    any others. Where no cut pays, this is the whole basis: a plain matrix product. `crowded` is for pairs that are not
    taken at random but are close already.
    """
    dim = sample.shape[1]
    fitted, judging = np.split(sample, [len(sample) * 3 // 4])
    _, directions = np.linalg.eigh(fitted.T @ fitted)
    turned = np.ascontiguousarray(directions[:, ::-1])
    bounds = [Bound(np.ascontiguousarray(turned[:, :k])) for k in _LENGTHS if k <= dim // 2] + [Bound(None)]
    looking = _LOOKING * (_CROWD if crowded else 1)
    return min(bounds, key=lambda bound: bound.columns(dim) + _SCANNING + looking * _left(bound, judging, floor))


def _left(bound: Bound, sample: Double, floor: float) -> float:
    """Return the share of a sample's pairs that the bound does not dismiss."""
    half = len(sample) // 2
    if not half:
        return 0.0
    low = bound.low(sample)
    return float((low[:half] @ low[half:].T >= limit(floor, low.shape[1])).mean())
