"""Crowds in an answer: a crowd takes part as what stands for it, and every other image follows from that.

An image of a crowd has the pairs of the one that was compared for it, and a cosine of 1 to the others. So images of one
crowd and group, of which none or all may never be removed (a part), are close to the same images: whatever keeps the
best of a part from staying keeps the others from it too. Where an image of a part is kept, so is its best, which
removes all that another of them would, and ranks better. The rule is thus decided among the bests, and each image left
has the nearest of the kept ones that it is close to, and that come before it. `sql/duplicates/crowd_parts.sql` says
which parts stand for their crowd. No pair of a crowd is ever written out.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from query.duplicates.answering.keepers import TIERS, Cosines, Edges, Places, Removed, components

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Near:
    """Kept images that are close to a scope, each sorted by scope and place: `key` is scope * images + place."""

    key: Numbers
    place: Places
    cosine: Cosines
    group: Numbers
    best: Numbers  # where in here the nearest one stands, of the same scope and up to this place
    second: Numbers  # the nearest one of another group than that; -1 where there is none


@dataclass(frozen=True)
class Crowded:
    """P parts of crowds, and M ranked images, each of one part."""

    images: int  # ranked, of crowds or not
    groups: str  # which are compared: 'any', the 'same' or 'different' ones
    place: Places  # (M,) places in the ranking
    part: Numbers  # (M,)
    best: Numbers  # (P,) the place of the best image
    crowd: Numbers  # (P,)
    never: npt.NDArray[np.bool_]  # (P,) whether its images are never removed
    size: Numbers  # (P,) images
    stands: npt.NDArray[np.bool_]  # (P,)
    protected: npt.NDArray[np.bool_]  # (images,) whether each ranked image is never removed
    group: Numbers  # (images,) the group of each ranked image

    @cached_property
    def _part_at(self) -> Numbers:
        """Return (images,) the part that each image stands for; -1 for none."""
        found = np.full(self.images, -1)
        found[self.best[self.stands]] = np.flatnonzero(self.stands)
        return found

    @cached_property
    def _inside(self) -> npt.NDArray[np.bool_]:
        """Return (images,) whether each is of a crowd."""
        found = np.zeros(self.images, bool)
        found[self.place] = True
        return found

    @cached_property
    def _scope(self) -> Numbers:
        """Return (P,) numbers: parts with one number are close to the same images, but for those of their own group."""
        if self.groups != "same":
            return self.crowd
        return np.unique(self.crowd * (self.group.max(initial=0) + 1) + self.group[self.best], return_inverse=True)[1]

    def removable(self, edges: Edges) -> Edges:
        """Return the pairs of which one image may be removed."""
        return edges.where(~(self.protected[edges.better] & self.protected[edges.worse]))

    def completed(self, edges: Edges, gone: Removed) -> Removed:
        """Return what goes with those images of crowds that do not stand for theirs; `edges` are all pairs that do."""
        waiting = ~self.never[self.part] & (~self.stands[self.part] | (self.best[self.part] != self.place))
        place, part = self.place[waiting], self.part[waiting]
        near = self._near(edges, gone)
        if not len(near.key):
            return gone
        at = np.searchsorted(near.key, self._scope[part] * self.images + place) - 1
        chosen = near.best[at]
        if self.groups == "different":
            chosen = np.where(near.group[chosen] == self.group[place], near.second[at], chosen)
        found = (at >= 0) & (chosen >= 0) & (near.key[at] // self.images == self._scope[part])
        place, chosen = place[found], chosen[found]
        return Removed(
            np.concatenate([gone.place, place]),
            np.concatenate([gone.partner, near.place[chosen]]),
            np.concatenate([gone.cosine, near.cosine[chosen]]),
            np.concatenate([gone.tier, np.full(len(place), len(TIERS) - 1, np.int8)]),
        )

    def of_crowds(self, gone: Removed) -> Numbers:
        """Return which of these pairs have an image of a crowd."""
        return np.flatnonzero(self._inside[gone.place] | self._inside[gone.partner])

    def _near(self, edges: Edges, gone: Removed) -> Near:
        """Return the kept images that are close to each scope."""
        kept = np.ones(self.images, bool)
        kept[gone.place] = False
        a, b = np.concatenate([edges.better, edges.worse]), np.concatenate([edges.worse, edges.better])
        cosine = np.concatenate([edges.cosine, edges.cosine])
        wanted = kept[b] & (self._part_at[a] >= 0)
        scope, place, cosine = self._scope[self._part_at[a[wanted]]], b[wanted].astype(np.int64), cosine[wanted]
        if self.groups != "different":
            own = np.flatnonzero(self.stands & kept[self.best])
            scope, place = np.concatenate([scope, self._scope[own]]), np.concatenate([place, self.best[own]])
            cosine = np.concatenate([cosine, np.ones(len(own), np.float32)])
        key, first = np.unique(scope * self.images + place, return_index=True)
        scope, place, cosine = scope[first], place[first], cosine[first]
        group = self.group[place]
        if self.groups == "different":
            best, second = _two_bests(scope, cosine, group)
        else:
            best, second = _bests(scope, cosine), np.full(len(key), -1)
        return Near(key, place, cosine, group, best, second)

    def pairs(self, edges: Edges) -> int:
        """Return how many pairs there are that count, those within crowds and of their members included."""
        if self.groups == "different":
            return self._pairs_of_different_groups(edges)
        weight = np.ones(self.images, np.int64)
        weight[self.best] = self.size
        some = self.removable(edges)
        alone = self.size[~self.never]
        return int((weight[some.better] * weight[some.worse]).sum() + (alone * (alone - 1) // 2).sum())

    def chains(self, edges: Edges) -> Numbers:
        """Return the sizes of connected components, of which those of one image say nothing."""
        some = self.removable(edges)
        linked = np.bincount(np.concatenate([some.better, some.worse]), minlength=self.images) > 0
        if self.groups != "different":
            linked[self.best] |= ~self.never & (self.size > 1)
        weight = (~self._inside).astype(np.int64)
        weight[self.best[self.stands]] = np.where(linked[self.best], self.size, 1)[self.stands]
        # Whatever is close to a part that does not stand is close to two of the three of its kind, so these are linked.
        kind = self.crowd * 2 + self.never
        others = np.bincount(kind[~self.stands], self.size[~self.stands], minlength=int(kind.max(initial=0)) + 1)
        kinds, first = np.unique(kind[self.stands & linked[self.best]], return_index=True)
        weight[self.best[self.stands & linked[self.best]][first]] += others[kinds].astype(np.int64)
        return np.bincount(components(some, self.images), weight, minlength=1).astype(np.int64)

    def _pairs_of_different_groups(self, edges: Edges) -> int:
        """Count every pair of images, then take away those of one group, and those that are never removed."""
        inside = self._part_at[edges.better], self._part_at[edges.worse]
        neither = (inside[0] < 0) & (inside[1] < 0)
        total = len(self.removable(edges.where(neither)))
        whole = {crowd: _Count.of(self, self.crowd == crowd) for crowd in np.unique(self.crowd).tolist()}
        met = {
            tuple(sorted((self._named(a), self._named(b))))
            for a, b in zip(edges.better[~neither].tolist(), edges.worse[~neither].tolist(), strict=True)
        }
        for first, second in met:
            total += self._count(first, whole).with_other(self._count(second, whole)) if first != second else 0
        return total + sum(one.with_itself() for one in whole.values())

    def _named(self, place: int) -> tuple[int, int]:
        """Return the crowd that an image stands for, or itself."""
        part = int(self._part_at[place])
        return (0, int(self.crowd[part])) if part >= 0 else (1, place)

    def _count(self, named: tuple[int, int], whole: dict[int, "_Count"]) -> "_Count":
        kind, number = named
        if kind == 0:
            return whole[number]
        one, never = np.ones(1, np.int64), np.array([self.protected[number]], np.int64)
        return _Count(self.group[[number]], one, never)


@dataclass(frozen=True)
class _Count:
    """How many images there are in each group, and how many of these are never removed."""

    group: Numbers  # ascending
    images: Numbers
    never: Numbers

    @staticmethod
    def of(crowded: Crowded, parts: npt.NDArray[np.bool_]) -> "_Count":
        group, at = np.unique(crowded.group[crowded.best[parts]], return_inverse=True)
        size = crowded.size[parts]
        images, never = (np.bincount(at, size * some, len(group)) for some in (1, crowded.never[parts]))
        return _Count(group, images.astype(np.int64), never.astype(np.int64))

    def with_other(self, other: "_Count") -> int:
        """Return the pairs of an image of each, of different groups, not both of which are never removed."""
        _, a, b = np.intersect1d(self.group, other.group, assume_unique=True, return_indices=True)
        every, never = (
            one.sum() * two.sum() - (one[a] * two[b]).sum()
            for one, two in ((self.images, other.images), (self.never, other.never))
        )
        return int(every - never)

    def with_itself(self) -> int:
        """Return the pairs of two of its images, likewise."""
        return self.with_other(self) // 2


def _bests(scope: Numbers, cosine: Cosines) -> Numbers:
    """Return for each which one up to it, of the same scope, has the greatest cosine, the first of these at a tie."""
    value = scope.astype(np.uint64) << np.uint64(32) | cosine.view(np.uint32)  # bits of floats above 0 are in order
    greatest = np.maximum.accumulate(value)
    greater = np.append(True, greatest[1:] > greatest[:-1])[: len(value)]
    return np.maximum.accumulate(np.where(greater, np.arange(len(value)), 0))


def _two_bests(scope: Numbers, cosine: Cosines, group: Numbers) -> tuple[Numbers, Numbers]:
    """Return the same, and the best of another group than that one's. A walk, over what is kept near a crowd alone."""
    bests, seconds = np.empty(len(scope), np.int64), np.empty(len(scope), np.int64)
    scopes, cosines, groups = scope.tolist(), cosine.tolist(), group.tolist()
    best = second = -1
    for k, cosine_k in enumerate(cosines):
        if k == 0 or scopes[k] != scopes[k - 1]:
            best, second = k, -1
        elif groups[k] == groups[best]:
            best = k if cosine_k > cosines[best] else best
        elif cosine_k > cosines[best]:
            best, second = k, best
        elif second < 0 or cosine_k > cosines[second]:
            second = k
        bests[k], seconds[k] = best, second
    return bests, seconds
