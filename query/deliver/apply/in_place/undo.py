"""`undo` in place: files move back, and the originals of changed manifests and archives take their places again."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from query.deliver.apply.copying import OnProgress
from query.deliver.apply.in_place.steps import STEPS, Noted, Workplace, read_steps
from query.deliver.apply.in_place.tree import OWN, locked, parents, remove_if_empty, rename, root_of, sha256, sync
from query.deliver.apply.journal import Journal, retire
from query.deliver.apply.plan import Count
from query.deliver.apply.tables import Tables, open_tables
from query.deliver.apply.undo import UndoPlan
from store.errors import UsageError
from store.location import Location

_EXAMPLES = 3


@dataclass
class InPlaceUndo:
    """The way back of one application in place."""

    folder: Location
    record: Mapping[str, Any]
    tables: Tables
    _noted: Noted = field(default_factory=Noted)

    def __post_init__(self) -> None:
        """Find the root."""
        self.root = root_of(str(self.record["destination"]))
        self._workplace = Workplace(self.root, str(self.record["run_id"]))
        self._journal = Journal(self.folder, STEPS)

    @property
    def destination(self) -> str:
        """The source's folder."""
        return str(self.root)

    def plan(self) -> UndoPlan:
        """Look at the folder; nothing is written or moved anywhere."""
        self._noted = read_steps(self.tables, self._journal)
        moves = {path: self._stands(path) for path in self._noted.moves}
        rewrites = {path: self._rewrite_stands(path) for path in self._noted.rewrites}
        ours = [path for path, state in moves.items() if state == "ours"]
        stays = [p for states in (moves, rewrites) for p, state in states.items() if state == "not_ours"]
        size = sum(self._noted.moves[path]["size_bytes"] for path in ours)
        return UndoPlan(
            destination=str(self.root),
            ours=Count(len(ours) + sum(state == "ours" for state in rewrites.values()), size),
            not_ours=len(stays),
            not_ours_examples=tuple(sorted(stays)[:_EXAMPLES]),
            gone=sum(state == "gone" for state in moves.values()),
            unfinished_uploads=0,
        )

    def carry_out(self, on_progress: OnProgress = lambda _done, _all: None) -> UndoPlan:
        """Move everything back: files first, then the manifests that name them; return how it stands afterwards.

        Ended at any moment, the same call goes on from there. Raise UsageError where a later run was applied here.
        """
        if later := self._workplace.others():
            raise UsageError(
                f"The run {later[-1]} was applied below {self.root} after this one.",
                "It has changed the same manifests since.",
                "Undo that one first.",
            )
        with locked(self.root):
            before = self.plan()
            done = 0
            rewritten = [path for path in self._noted.rewrites if self._rewrite_stands(path) == "ours"]
            for path in rewritten:
                if self._noted.places[path] != path:  # it names what moves back now
                    (self.root / self._noted.places[path]).unlink(missing_ok=True)
            for path in self._noted.moves:
                if self._stands(path) == "ours":
                    self._move_back(path)
                    on_progress(done := done + 1, before.ours.objects)
            for path in sorted(
                rewritten, key=lambda path: -path.count("/")
            ):  # inner manifests before those that name them
                self._restore(path)
                on_progress(done := done + 1, before.ours.objects)
            for folder in sorted(self._noted.made, key=lambda path: -path.count("/")):
                remove_if_empty(self.root / folder)
            after = self.plan()
            if not after.ours.objects:
                self._close(after)
        return after

    def _stands(self, path: str) -> str:
        """Return `ours` for a file that is to move back, `back`, `gone`, or `not_ours` for one that stays."""
        row = self._noted.moves[path]
        source, target = self.root / path, self.root / row["to_path"]
        if not os.path.lexists(target):
            return "back" if os.path.lexists(source) else "gone"
        if os.path.lexists(source) or not _is_same(target, row):
            return "not_ours"
        return "ours"

    def _rewrite_stands(self, path: str) -> str:
        """Return `ours` for a file whose original is to come back, `back`, or `not_ours` for one edited since."""
        backup, place = self._workplace.original(path), self.root / self._noted.places[path]
        if not backup.exists():
            return "back"
        known = {None, sha256(backup), *self._noted.rewrites[path]}
        here = {sha256(place), sha256(self.root / path)}
        return "ours" if here <= known else "not_ours"

    def _move_back(self, path: str) -> None:
        self._make_folders(path)
        rename(self.root / self._noted.moves[path]["to_path"], self.root / path)

    def _restore(self, path: str) -> None:
        self._make_folders(path)
        backup, target = self._workplace.original(path), self.root / path
        if target.exists() and target.samefile(backup):  # two names of one file, which a rename would leave
            backup.unlink()
        else:
            backup.replace(target)
        sync(target.parent)

    def _make_folders(self, path: str) -> None:
        """Make the folders of a file again that went when they were empty."""
        for folder in reversed(parents(path)):
            if not (self.root / folder).is_dir():
                (self.root / folder).mkdir()
                with suppress(KeyError):
                    (self.root / folder).chmod(self._noted.modes[folder])

    def _close(self, after: UndoPlan) -> None:
        """Set the record aside; originals that could not take their places stay where they are."""
        if not after.not_ours:
            shutil.rmtree(self._workplace.folder, ignore_errors=True)
            remove_if_empty(self.root / OWN)
        retire(self.folder)


def _is_same(target: Path, row: Mapping[str, Any]) -> bool:
    with suppress(OSError):
        status = target.stat()
        return bool((status.st_size, status.st_mtime_ns) == (row["size_bytes"], row["mtime_ns"]))
    return True  # a link to nothing from its new place; it is the link that moved


@contextmanager
def open_in_place_undo(run: Location, folder: Location, record: Mapping[str, Any]) -> Iterator[InPlaceUndo]:
    """Open the way back of one application in place; nothing is moved before `carry_out`."""
    with open_tables(run) as tables:
        yield InPlaceUndo(folder, record, tables)
