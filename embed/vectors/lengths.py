"""Finite, and of length 1: what a vector must be, or an error that says where, how far off, and what to do."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embed.vectors.reading.arrays import Matrix
from store.errors import ImportRefused

TOLERANCE = 5e-3
"""How far from 1 a length may be: bfloat16 has 8 significant bits, so rounding moves it by at most 2**-8 = 3.9e-3."""


def unit(vectors: Matrix, where: Callable[[int], str], *, normalize: bool) -> Matrix:
    """Return (N, D) float32 rows of length 1; `where` says which row of which file one is.

    Raise ImportRefused for a row that is not finite, or not of length 1 where it is not to be normalized.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise _not_finite(lengths, where)
    if normalize:
        if not lengths.all():
            raise ImportRefused(
                f"{where(int(np.argmin(lengths)))} is a vector of zeros, which has no direction.",
                "It stands for a failure of whatever made it.",
                "Take the row out of both files.",
            )
    elif len(lengths) and np.abs(lengths - 1).max() > TOLERANCE:
        raise _not_unit(lengths, where)
    return np.asarray(vectors / lengths[:, None], np.float32)


def _not_finite(lengths: npt.NDArray[np.float64], where: Callable[[int], str]) -> ImportRefused:
    bad = ~np.isfinite(lengths)
    return ImportRefused(
        f"{where(int(np.argmax(bad)))} holds values that are not finite, as do {int(bad.sum()) - 1:,} more near it.",
        "Every cosine with it would be no number.",
        "Make these vectors again, or take their rows out of both files.",
    )


def _not_unit(lengths: npt.NDArray[np.float64], where: Callable[[int], str]) -> ImportRefused:
    worst = int(np.argmax(np.abs(lengths - 1)))
    return ImportRefused(
        f"{where(worst)} has length {lengths[worst]:.4g}, not 1; lengths near it lie between {lengths.min():.4g} and "
        f"{lengths.max():.4g}.",
        "A score is a cosine, which an inner product is for vectors of length 1 alone.",
        "If they are an encoder's raw output, pass --normalize; if not, the file holds something else.",
    )
