"""Where found pairs lie: a set belongs to one floor and one method, and grows in rounds of new parts.

    neighbors/<set>/set.json                   floor, method, and the rounds: which parts each compared
    neighbors/<set>/<round>.<stripe>.parquet   image_id, neighbor_id, cosine: each pair once, image_id < neighbor_id
    neighbors/<set>/cells.npz                  of an approximate set: the cells, so that later parts are sorted alike
    crowds/<set>/<round>.parquet               image_id, member_of: images that stand for no pair of their own

A round compares its parts with each other and with those of the rounds before it. It is done when every one of its
files is there, so a listing of the folders says what is missing. The files are DERIVED: removed, they come back.

So many images may have one embedding, bit for bit, that their pairs could not be kept: k of them are k(k-1)/2. Of such
a crowd one image is compared, the others are its members: each has the pairs of that one, and is at cosine 1 to it and
to every other member.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from query.duplicates.recall import CONFIDENCE, Recall
from store.errors import NotCompared, StoreDamaged, UsageError
from store.layout import EncoderStore

EXACT, APPROXIMATE = "exact", "approximate"

FLOOR = 0.90
"""Where pairs begin unless another floor is asked for."""


@dataclass(frozen=True)
class Round:
    """Parts that were compared together."""

    round_id: str  # a hash of the parts and of those compared before
    parts: tuple[str, ...]  # names of `images/` parts, without folder and suffix
    images: int = 0  # embedded images that these parts added
    stripes: int = 0  # files of pairs
    members: int = 0  # so many of the images are members of crowds, and so not compared
    recall: tuple[Recall, ...] = ()  # as measured in this round; empty for an exact one, and until it is done

    @staticmethod
    def id_of(before: Sequence[str], parts: Sequence[str]) -> str:
        """Return the id of a round."""
        return hashlib.sha256(json.dumps([list(before), list(parts)]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class NeighborSet:
    """The pairs of one floor and one method, and the files that are there."""

    set_id: str
    floor: float
    method: str  # EXACT or APPROXIMATE
    rounds: tuple[Round, ...] = ()
    created_at: str = ""  # ISO 8601, UTC; empty where the set has not been written yet
    present: frozenset[str] = frozenset()  # names of the Parquet files in its folders

    @property
    def folder(self) -> str:
        """Return the name of the folder of the set's pairs."""
        return f"neighbors/{self.set_id}"

    @property
    def crowd_folder(self) -> str:
        """Return the name of the folder of the set's crowds."""
        return f"crowds/{self.set_id}"

    def file(self, one: Round, stripe: int) -> str:
        """Return the name of a stripe's file."""
        return f"{self.folder}/{one.round_id}.{stripe:05d}.parquet"

    def files(self, one: Round) -> list[str]:
        """Return the names of the files of a round's pairs, whether they are there or not."""
        return [self.file(one, stripe) for stripe in range(one.stripes)]

    def crowd_file(self, one: Round) -> str:
        """Return the name of the file of a round's members of crowds."""
        return f"{self.crowd_folder}/{one.round_id}.parquet"

    def every_file(self, one: Round) -> list[str]:
        """Return the names of all files of a round, whether they are there or not."""
        return [*self.files(one), *([self.crowd_file(one)] if one.members else [])]

    def done(self, one: Round) -> bool:
        """Return whether a round is complete."""
        measured = self.method == EXACT or bool(one.recall) or one.images == one.members
        return measured and all(name in self.present for name in self.every_file(one))

    @property
    def complete(self) -> list[Round]:
        """Return the rounds that are complete."""
        return [one for one in self.rounds if self.done(one)]

    @property
    def parts(self) -> list[str]:
        """Return the parts whose pairs are all there, in the order in which they were compared."""
        return [part for one in self.complete for part in one.parts]

    @property
    def images(self) -> int:
        """Return how many images these parts hold."""
        return sum(one.images for one in self.complete)

    @property
    def pair_files(self) -> list[str]:
        """Return the names of the files of all complete rounds."""
        return [name for one in self.complete for name in self.files(one)]

    @property
    def crowd_files(self) -> list[str]:
        """Return the names of the files of members of crowds, of all complete rounds."""
        return [self.crowd_file(one) for one in self.complete if one.members]

    @property
    def members(self) -> int:
        """Return how many images are members of crowds."""
        return sum(one.members for one in self.complete)

    def with_round(self, one: Round) -> "NeighborSet":
        """Return the set with this round, in place of one of the same id, if there is one."""
        return replace(self, rounds=(*(held for held in self.rounds if held.round_id != one.round_id), one))

    def refreshed(self, store: EncoderStore) -> "NeighborSet":
        """Return the set with the files that are there now."""
        return replace(self, present=frozenset([*store.parts(self.folder), *store.parts(self.crowd_folder)]))


def read_neighbor_sets(store: EncoderStore) -> list[NeighborSet]:
    """Return every set of the store: exact before approximate, then by parts compared, then the lowest floor first."""
    sets = [_read(store, set_id) for set_id in store.neighbor_sets()]
    return sorted(sets, key=lambda s: (s.method != EXACT, -len(s.parts), s.floor, s.set_id))


def write_neighbor_set(store: EncoderStore, neighbors: NeighborSet) -> NeighborSet:
    """Write what a set is, before its first pairs; return it with the time at which it was first written."""
    written = replace(
        neighbors, created_at=neighbors.created_at or datetime.now(UTC).isoformat(timespec="microseconds")
    )
    record = {
        "created_at": written.created_at,
        "floor": written.floor,
        "method": written.method,
        "rounds": [
            {
                "round": one.round_id,
                "parts": list(one.parts),
                "images": one.images,
                "stripes": one.stripes,
                "members": one.members,
                "recall": [asdict(measured) for measured in one.recall],
            }
            for one in written.rounds
        ],
    }
    store.location.write(f"{written.folder}/set.json", (json.dumps(record, indent=2) + "\n").encode())
    return written


def remove_neighbor_set(store: EncoderStore, neighbors: NeighborSet) -> None:
    """Remove a set; what it is goes first, so that half a set is never taken for one."""
    store.location.remove(f"{neighbors.folder}/set.json")
    store.location.remove(f"{neighbors.folder}/cells.npz")
    for name in sorted(neighbors.present):
        store.location.remove(name)


def shown_neighbors(store: EncoderStore) -> NeighborSet:
    """Return the set that the view `neighbors` shows: the first of all; an empty one where there is none."""
    return next(iter(read_neighbor_sets(store)), NeighborSet("none", 1.0, EXACT))


def compared(store: EncoderStore, at: float | None = None) -> NeighborSet:
    """Return the set that answers for every image of the store, at any threshold from `at` on.

    Raise NotCompared where parts are missing from it, UsageError where every set begins above `at`.
    """
    sets = read_neighbor_sets(store)
    wanted = {name.rsplit("/", 1)[-1].removesuffix(".parquet") for name in store.parts("images")}
    whole = [one for one in sets if wanted <= set(one.parts)]
    low_enough = [one for one in whole if at is None or one.floor <= at]
    if low_enough:
        return low_enough[0]
    if whole:
        floor = min(one.floor for one in whole)
        raise UsageError(
            f"Pairs are kept from a cosine of {floor:g} on, so nothing can be said of {at:g}.",
            do=f"Ask for {floor:g} or more, or run `clipsieve neighbors STORE --floor {at:g}`.",
        )
    missing = min((len(wanted - set(one.parts)) for one in sets), default=len(wanted))
    raise NotCompared(
        f"{missing:,} of {len(wanted):,} parts of the store have not been compared with the others yet.",
        "An answer without them would be wrong.",
        f"Run `clipsieve neighbors STORE{f' --floor {at:g}' if at is not None and at < FLOOR else ''}`.",
    )


def _recall(record: dict[str, Any]) -> tuple[Recall, ...]:
    return tuple(Recall(**measured) for measured in record["recall"])


def _read(store: EncoderStore, set_id: str) -> NeighborSet:
    name = f"neighbors/{set_id}/set.json"
    try:
        record = json.loads(store.location.read(name) or b"")
        rounds = tuple(
            Round(
                one["round"],
                tuple(one["parts"]),
                int(one["images"]),
                int(one["stripes"]),
                int(one["members"]),
                _recall(one),
            )
            for one in record["rounds"]
        )
        read = NeighborSet(set_id, float(record["floor"]), str(record["method"]), rounds, str(record["created_at"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(
            f"{store.location.uri}/{name} is not the record of a set of neighbors.",
            do=f"Remove the folder neighbors/{set_id} and run `clipsieve neighbors` again.",
        ) from error
    return read.refreshed(store)


def described(neighbors: NeighborSet, at: float) -> str:
    """Return how the pairs were found and how sure it is that all are there, from a threshold on, in a few words."""
    if neighbors.method == EXACT:
        return "found exactly: none is missing"
    found = recall_at(neighbors, at)
    if not found.pairs:
        return "found approximately; a sample had no such pair to measure the recall with"
    return (
        f"found approximately: {found.found:,} of a sample's {found.pairs:,} ({found.share:.2%}), "
        f"at least {found.at_least:.1%} with {CONFIDENCE:.0%} confidence"
    )


def recall_at(neighbors: NeighborSet, at: float) -> Recall:
    """Return the recall as measured in all rounds, at the threshold nearest to `at` but not above it."""
    measured = [one for done in neighbors.complete for one in done.recall]
    asked = max((one.at for one in measured if one.at <= at), default=at)
    return sum((one for one in measured if one.at == asked), Recall(asked, 0, 0, 0, 0))
