"""How many scores each of several thresholds removes: they are sorted once, then a threshold is a binary search.

Sorting takes longer than counting by threshold in SQL would, once; every further sweep of a warm session then costs
nothing. Groups and grids are counted in SQL (sql/rules/sweep_groups.sql).
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Scores = npt.NDArray[np.float32]

NEAREST = 3
"""How many images are shown on either side of a threshold."""


def sweep_sorted(scores: Scores, thresholds: Scores, *, below: bool) -> pa.Table:
    """Return a row per threshold: threshold, removed, kept, removed_share, which is null where there are no scores.

    `scores` are (N,) float32 in ascending order, NaN last, which DuckDB too calls the highest. True = removed:
    `score >= threshold`, equality included, or where `below`, `score < threshold`. `thresholds` are (T,) float32.
    """
    lower = np.searchsorted(scores, thresholds)
    removed = lower if below else len(scores) - lower
    share = removed / len(scores) if len(scores) else np.full(len(thresholds), np.nan)
    return pa.table(
        {
            "threshold": thresholds,
            "removed": removed.astype(np.int64),
            "kept": (len(scores) - removed).astype(np.int64),
            "removed_share": pa.array(np.round(share, 6), from_pandas=True),
        }
    )
