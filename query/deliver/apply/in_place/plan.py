"""What an application in place would do, or has left, counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from query.deliver.apply.in_place.survey import Move, Survey
from query.deliver.apply.plan import Count


@dataclass(frozen=True)
class InPlacePlan:
    """How everything below one root stands."""

    root: str
    states: Mapping[str, Count]  # moved, to_move, changed, vanished, occupied, unknown
    folders: Mapping[str, Count]  # what goes, by the folder that it goes to
    groups: Mapping[str, int]  # whole groups that go, by the folder that they go to
    manifests: int  # to be written anew
    archives: int
    not_moved: tuple[tuple[str, str], ...]  # path, and why
    still_named: tuple[tuple[str, str], ...]  # manifest, and a value that names what goes without being an entry

    @property
    def to_do(self) -> int:
        """Files that are to be moved or written."""
        return self.states.get("to_move", Count()).objects + self.manifests + self.archives

    @property
    def is_clean(self) -> bool:
        """Whether everything is done, and nothing is to be looked at."""
        return set(self.states) <= {"moved"} and not (self.manifests or self.archives or self.still_named)


def describe(root: Path, survey: Survey, failures: Mapping[str, str]) -> InPlacePlan:
    """Count what a survey has seen; `failures` are those of moves that were tried, by path."""
    states: dict[str, list[Move]] = {}
    folders: dict[str, list[Move]] = {}
    for move in survey.moves:
        states.setdefault(move.state, []).append(move)
        if move.state in {"to_move", "moved"}:
            folders.setdefault(move.folder, []).append(move)
    archives = sum(not rewrite.path.endswith(".json") for rewrite in survey.rewrites)
    not_moved = [
        (move.path, failures.get(move.path, move.state))
        for move in (*survey.moves, *survey.along)
        if move.state not in {"moved", "to_move"} or move.path in failures
    ]
    return InPlacePlan(
        root=str(root),
        states={state: _count(moves) for state, moves in states.items()},
        folders={folder: _count(moves) for folder, moves in sorted(folders.items())},
        groups=dict(sorted(Counter(survey.groups.values()).items())),
        manifests=len(survey.rewrites) - archives,
        archives=archives,
        not_moved=tuple(not_moved),
        still_named=tuple(survey.still_named),
    )


def _count(moves: list[Move]) -> Count:
    return Count(len(moves), sum(move.size_bytes for move in moves))
