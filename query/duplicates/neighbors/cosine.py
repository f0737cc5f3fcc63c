"""What the cosine of a pair is: of the vectors as they are stored, exact to its sixth decimal, whoever computes it.

A float16 value is a whole multiple of 2**-24, so a product of two is one of 2**-48, and so is any sum of them. Of two
vectors of length 1 every such sum lies below 2 and fits the 53 bits of a float64: the float64 inner product of two
stored vectors is exact, in whatever order it is summed. So a cosine depends on no block, part or processor.

Rounded to six decimals, because float16 cannot say more: two roundings of one unit vector lie at most 2 * 2**-11 apart,
so their cosine is at least 1 - 2**-21 = 0.99999952, which is 1.000000. Identical embeddings are at 1 exactly.
"""

import numpy as np
import numpy.typing as npt

Single = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

Side = tuple[Single, Index, Double]
"""One side of n pairs: a matrix of float16 values, (n,) which of its rows, (n,) their squared lengths."""

DECIMALS = 6
ROUNDING = 0.5 * 10.0**-DECIMALS
"""A cosine counts as at least t where it is so after rounding: from t - ROUNDING on."""

_STEP = 512  # pairs at a time: their vectors stay in the cache


def squared_lengths(full: Single) -> Double:
    """Return (N,) float64: the exact squared length of each row of (N, D), which holds float16 values."""
    wide = full.astype(np.float64)
    return np.asarray(np.vecdot(wide, wide))


def cosines(first: Side, second: Side) -> Double:
    """Return (n,) float64, rounded: the cosine of each vector of one side to that of the other."""
    (rows, a, lengths), (columns, b, others) = first, second
    dots = np.empty(len(a))
    for start in range(0, len(a), _STEP):
        some = slice(start, start + _STEP)
        dots[some] = np.vecdot(rows[a[some]].astype(np.float64), columns[b[some]].astype(np.float64))
    return np.round(dots / np.sqrt(lengths * others), DECIMALS)
