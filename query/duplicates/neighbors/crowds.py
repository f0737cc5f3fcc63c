"""Crowds: images that share one embedding, bit for bit, with so many that their pairs are not written out.

k equal vectors are k(k-1)/2 pairs: a hundred thousand copies of one placeholder would be five thousand million. So of
a crowd one row is compared, and the others are noted as members of it. Smaller groups stay rows and pairs like all
others. Whoever asks gives a member the pairs of the row that was compared. Minus zero is other bits than zero: such
vectors are two crowds at a cosine of 1.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from query.duplicates.ids import Crowds
from query.duplicates.neighbors.rows import Index, Rows

CROWD = 256
"""More equal vectors than this are a crowd; so many are 32,640 pairs."""

_AT_ONCE = 4096  # rows compared bit by bit at a time


def find_crowds(rows: Rows, known: Crowds) -> tuple[Rows, Crowds]:
    """Return the rows that are to be compared, and the new ones among the others, as members of crowds.

    A new row that is equal to one which is compared for others joins these. Where there is none yet, the first row is
    compared for the others, which is one of the old ones if there are any: the pairs of these are known, so they stay.
    """
    represents = known.represented(rows.ids)
    members, compared = [], []
    for group in _equal(rows, represents):
        if len(group) <= CROWD and not represents[group].any():
            continue
        first = group[np.argmax(represents[group])]
        joining = group[(group >= rows.old) & (group != first)]
        members.append(joining)
        compared.append(np.full(len(joining), first))
    if not members:
        return rows, Crowds(rows.ids[:0], rows.ids[:0])
    order = np.argsort(np.concatenate(members))
    gone, of = np.concatenate(members)[order], np.concatenate(compared)[order]
    found = Crowds(rows.ids[gone], rows.ids[of])
    return rows.without(gone) if len(gone) else rows, found


def _equal(rows: Rows, represents: npt.NDArray[np.bool_]) -> Iterator[Index]:
    """Yield rows that are equal, in ascending order, wherever these may be a crowd."""
    order = np.argsort(rows.digests, kind="stable")
    digests = rows.digests[order]
    begins = np.flatnonzero(np.diff(digests, prepend=~digests[:1]) != 0)
    sizes = np.diff(begins, append=len(order))
    joined = np.add.reduceat(represents[order], begins, dtype=np.int64) > 0 if len(begins) else sizes > 0
    for k in np.flatnonzero((sizes > CROWD) | (joined & (sizes > 1))):
        left = order[begins[k] : begins[k] + sizes[k]]
        while len(left):  # once, unless two vectors have one hash
            same = _same_bits(rows, left)
            yield left[same]
            left = left[~same]


def _same_bits(rows: Rows, some: Index) -> npt.NDArray[np.bool_]:
    """Return whether each of these rows is equal to the first."""
    first = rows.spool.take(some[:1]).view(np.uint16)
    starts = range(0, len(some), _AT_ONCE)
    taken = (rows.spool.take(some[start : start + _AT_ONCE]) for start in starts)
    return np.concatenate([(half.view(np.uint16) == first).all(axis=1) for half in taken])
