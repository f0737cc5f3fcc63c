"""`apply --in-place`: pruned images move to `_dropped/`, quarantined groups to a folder of their label's name.

Manifests and archives are written anew before the files that they name move, so that no manifest names a missing file
at any moment. Every step is noted before the first is taken; what an ended process has left is seen from the disk, so
that the same call goes on, and `undo` goes back.
"""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from query.deliver.apply.copying import OnProgress
from query.deliver.apply.in_place.plan import InPlacePlan, describe
from query.deliver.apply.in_place.steps import STEPS, Noted, Workplace, read_steps, step
from query.deliver.apply.in_place.survey import Move, Rewrite, Survey, Surveyor, find_moves
from query.deliver.apply.in_place.tree import (
    OWN,
    keep_original,
    locked,
    parents,
    plain,
    remove_if_empty,
    rename,
    root_of,
    sha256,
    sync,
)
from query.deliver.apply.journal import Journal, apply_folder, declare
from query.deliver.apply.run import ExportedRun, view_manifest
from query.deliver.apply.tables import Tables, open_tables
from store.errors import RunDamaged, UsageError

_LABEL = re.compile(r"_[\w-][\w.-]*")


@dataclass
class InPlaceJob:
    """One run and one source's folder: look at it, then carry it out."""

    run: ExportedRun
    source: str
    tables: Tables
    _failures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the root."""
        self.root = root_of(self.source)
        self._folder = apply_folder(self.run.location, self.source)
        self._journal = Journal(self._folder, STEPS)
        self._workplace = Workplace(self.root, self.run.run_id)

    @property
    def record(self) -> str:
        """Where the journal and `not_moved.csv` lie."""
        return self._folder.uri

    def plan(self) -> InPlacePlan:
        """Look at the folder, and say what is to be done; nothing is written anywhere."""
        return describe(self.root, self._survey(self._begun_at()), self._failures)

    def carry_out(self, on_progress: OnProgress = lambda _done, _all: None) -> InPlacePlan:
        """Move and rewrite what is to be; return how everything stands afterwards.

        Ended at any moment, the same call goes on from there.
        """
        with locked(self.root):
            record = declare(self._folder, self._declaration())
            shutil.rmtree(self._workplace.folder / "staged", ignore_errors=True)
            survey = self._survey(str(record["begun_at"]))
            aside = sorted({move.folder for move in survey.moves})
            self._workplace.open({**record, "run": self.run.location.uri, "aside": aside})
            self._take(survey, on_progress)
            shutil.rmtree(self._workplace.folder / "staged", ignore_errors=True)
            after = describe(self.root, self._survey(str(record["begun_at"])), self._failures)
            self._write_not_moved(after)
        return after

    def _survey(self, begun_at: str) -> Survey:
        noted = read_steps(self.tables, self._journal)
        moves = find_moves(self.root, self.tables.rows("moves", source=self.source), set(noted.moves))
        for folder in {move.folder for move in moves}:
            if folder == OWN or not _LABEL.fullmatch(folder):
                raise UsageError(f"{folder[1:]!r} is no name for a folder.", do="Name the quarantine in plain letters.")
        staying = self.tables.rows("staying_folders", source=self.source)
        provenance = {"run_id": self.run.run_id, "policy": self.run.policy_name, "applied_at": begun_at}
        folders = frozenset(plain(row["folder"]) for row in staying)
        on_their_way = {
            path: self._workplace.original(path) for path in noted.places if self._is_on_its_way(path, noted)
        }
        return Surveyor(self.root, folders, provenance, on_their_way).survey(moves)

    def _is_on_its_way(self, path: str, noted: Noted) -> bool:
        """Whether a group's manifest or archive was put aside, and a process ended before its new one was written."""
        places = (self.root / path, self.root / noted.places[path])
        return not any(place.exists() for place in places) and self._workplace.original(path).exists()

    def _take(self, survey: Survey, on_progress: OnProgress) -> None:
        """Note every step, then take them.

        A manifest loses its entries before the files move; that of a group that goes is put aside before, and written
        anew after them: so none ever names a missing file.
        """
        moves = [move for move in (*survey.along, *survey.moves) if move.state == "to_move"]
        staged = [(rewrite, *self._stage(rewrite)) for rewrite in survey.rewrites]
        made = self._folders_to_make([*(m.to_path for m in moves), *(r.to_path for r in survey.rewrites)])
        left = sorted({folder for move in moves for folder in parents(move.path) if folder})
        now = datetime.now(UTC)
        self._journal.write(
            [
                *(step("make", folder, noted_at=now) for folder in made),
                *(
                    step("empty", folder, mode=(self.root / folder).stat().st_mode & 0o7777, noted_at=now)
                    for folder in left
                ),
                *(step("rewrite", r.path, r.to_path, sha256=content, noted_at=now) for r, _, content in staged),
                *(
                    step("move", m.path, m.to_path, size_bytes=m.size_bytes, mtime_ns=m.mtime_ns, noted_at=now)
                    for m in moves
                ),
            ]
        )
        noted = read_steps(self.tables, self._journal)
        for folder in made:
            (self.root / folder).mkdir(exist_ok=True)
        total, done = len(staged) + len(moves), 0
        # The outer manifests name the inner ones, so they come first.
        staged.sort(key=lambda one: (one[0].goes_along, one[0].path.count("/")))
        for rewrite, new, _ in staged:
            self._put_aside(rewrite, noted)
            if not rewrite.goes_along:
                self._put_in_place(rewrite, new)
                on_progress(done := done + 1, total)
        for move in moves:
            self._move(move)
            on_progress(done := done + 1, total)
        for rewrite, new, _ in staged:
            if rewrite.goes_along and rewrite.path not in self._failures:
                self._put_in_place(rewrite, new)
                on_progress(done := done + 1, total)
        for folder in sorted({*left, *made}, key=lambda path: -path.count("/")):
            sync(self.root / folder)
            if folder in left:
                remove_if_empty(self.root / folder)

    def _stage(self, rewrite: Rewrite) -> tuple[Path, str]:
        """Write what is to take a file's place, and flush it to disk."""
        new = self._workplace.staged()
        rewrite.write(new)
        original = self.root / rewrite.path
        source = original if original.exists() else self._workplace.original(rewrite.path)
        new.chmod(source.stat().st_mode & 0o7777)
        sync(new)
        return new, str(sha256(new))

    def _put_aside(self, rewrite: Rewrite, noted: Noted) -> None:
        """Keep the original of a file; one that goes to another place leaves its own."""
        source, target = self.root / rewrite.path, self.root / rewrite.to_path
        if source != target and sha256(target) not in {None, *noted.rewrites[rewrite.path]}:
            self._failures[rewrite.path] = f"{target} is there already"
        elif source.exists():
            keep_original(source, self._workplace.original(rewrite.path))
            if source != target:
                source.unlink()
                sync(source.parent)

    def _put_in_place(self, rewrite: Rewrite, new: Path) -> None:
        target = self.root / rewrite.to_path
        new.replace(target)
        sync(target.parent)

    def _move(self, move: Move) -> None:
        source, target = self.root / move.path, self.root / move.to_path
        try:
            status = source.stat()
            if (status.st_size, status.st_mtime_ns) == (move.size_bytes, move.mtime_ns):
                rename(source, target)
        except OSError as error:
            self._failures[move.path] = error.strerror or str(error)

    def _folders_to_make(self, targets: list[str]) -> list[str]:
        """Return the folders that the targets need and that are not there, the outer ones first."""
        wanted = {folder for target in targets for folder in parents(target) if folder}
        return sorted((f for f in wanted if not (self.root / f).is_dir()), key=lambda path: (path.count("/"), path))

    def _declaration(self) -> dict[str, Any]:
        return {
            "kind": "in_place",
            "destination": self.source,
            "run_id": self.run.run_id,
            "run_metadata_sha256": self.run.metadata_sha256,
            "tool_version": version("clipsieve"),
            "begun_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def _begun_at(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds")

    def _write_not_moved(self, after: InPlacePlan) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("path", "why"), *after.not_moved])
        self._folder.write("not_moved.csv", text.getvalue().encode("utf-8", "backslashreplace"))


@contextmanager
def open_in_place_job(run: ExportedRun, source: str) -> Iterator[InPlaceJob]:
    """Check the run; nothing is written before `carry_out`. Raise RunDamaged or UsageError."""
    with open_tables(run.location) as tables:
        run.fetch(tables.folder)
        for name in ("kept", "removed", "quarantined", "errors"):
            if not view_manifest(tables.connection, tables.folder, name):
                raise RunDamaged(f"{run.location.uri} has no {name}.csv.", do="Name the folder that `export` wrote.")
        yield InPlaceJob(run, source, tables)
