"""Vectors as CLIP's image tower gives them, in several cosine spectra, with near-duplicates planted among them.

The figures are those of 2,001 real ViT-B/16 (OpenAI) vectors of photographs: 63 % of their squared length is a common
direction, and the rest falls off over the principal directions as `_SHARES` says. Between close pairs of them (0.95 to
0.97) the difference falls off more slowly, about as the power 0.6 of that, so near-duplicates are planted so.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

DIM = 512
COMMON = 0.63
"""The squared length of the mean vector: the median cosine of two random images."""

_SHARES = {0: 0, 1: 0.086, 2: 0.146, 4: 0.238, 8: 0.354, 16: 0.484, 32: 0.612, 64: 0.744, 96: 0.819, 128: 0.869}
_SHARES |= {192: 0.930, 256: 0.964, 384: 0.9935, 512: 1.0}
"""So much of the variance is in the first k principal directions."""

_DIFFERENCE = 0.6
_CENTRES = 2001
_REAL = Path(__file__).parents[2] / "shared" / "data" / "embeddings" / "unsplash_b16" / "embeddings.bin"

Rows = npt.NDArray[np.float32]


def _variances() -> Rows:
    """Return (D,) float32: the share of each principal direction."""
    cumulated = np.interp(np.arange(DIM + 1), list(_SHARES), list(_SHARES.values()))
    return np.diff(cumulated).astype(np.float32)


def photos(rng: np.random.Generator, rows: int) -> Rows:
    """Unlike images: random vectors of the spectrum. Few pairs are above 0.8."""
    drawn = rng.standard_normal((rows, DIM), np.float32)
    drawn *= np.sqrt((1 - COMMON) * _variances())
    drawn[:, -1] += np.sqrt(COMMON)  # the direction of least variance stands for the common one
    return drawn


def subjects(rng: np.random.Generator, rows: int) -> Rows:
    """Images of 2,001 subjects, looser and denser, around real vectors where there are any: many pairs above 0.9."""
    centres = _centres()
    spread = rng.uniform(0.35, 0.8, (rows, 1)).astype(np.float32)
    mean = centres.mean(axis=0)
    own = photos(rng, rows)
    own[:, -1] -= np.sqrt(COMMON)
    if _REAL.exists():
        own = own @ _directions().T
    return mean + np.sqrt(1 - spread**2) * (centres[rng.integers(0, len(centres), rows)] - mean) + spread * own


def isotropic(rng: np.random.Generator, rows: int) -> Rows:
    """Vectors without principal directions: what a bound by few coordinates finds hardest."""
    return rng.standard_normal((rows, DIM), np.float32)


def _centres() -> Rows:
    if not _REAL.exists():
        return _unit(photos(np.random.default_rng(7), _CENTRES))
    return _unit(np.fromfile(_REAL, np.float32).reshape(-1, DIM))


def _directions() -> Rows:
    """Return (D, D): the principal directions of the real vectors, in columns, the first one first."""
    _, directions = np.linalg.eigh(np.cov(_centres().T))
    return directions[:, ::-1].astype(np.float32)


def _unit(rows: Rows) -> Rows:
    unit: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@dataclass
class Planted:
    """Draws vectors of a spectrum, of which a share are near-duplicates of earlier ones, evenly from `least` to 1."""

    spectrum: Callable[[np.random.Generator, int], Rows]
    share: float = 0.1
    least: float = 0.9
    _earlier: list[Rows] = field(default_factory=list)

    def __call__(self, rng: np.random.Generator, rows: int) -> npt.NDArray[np.float16]:
        """Return (rows, D) float16, of length 1."""
        drawn = _unit(self.spectrum(rng, rows))
        copies = int(rows * self.share)
        known = np.concatenate([drawn[copies:], *self._earlier])
        originals = known[rng.integers(0, len(known), copies)]
        cosines = rng.uniform(self.least, 1, (copies, 1)).astype(np.float32)
        apart = rng.standard_normal((copies, DIM), np.float32) * _variances() ** (_DIFFERENCE / 2)
        if self.spectrum is subjects and _REAL.exists():
            apart = apart @ _directions().T
        apart -= (apart * originals).sum(axis=1, keepdims=True) * originals
        drawn[:copies] = cosines * originals + np.sqrt(1 - cosines**2) * _unit(apart)
        self._earlier = [drawn[copies:]]
        return drawn.astype(np.float16)


SPECTRA = {"photos": photos, "subjects": subjects, "isotropic": isotropic}
