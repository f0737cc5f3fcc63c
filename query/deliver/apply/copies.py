"""`apply --to`: the kept images copied below a prefix, each only as it was judged, and none over another object."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from query.deliver.apply.copying import BATCH_ROWS, CopyLoop, Notes, OnProgress
from query.deliver.apply.destination import check_keys, check_place, normalised
from query.deliver.apply.journal import COPIES, Journal, apply_folder, declare
from query.deliver.apply.plan import SEEN_JUST_NOW_S, Plan, describe, look
from query.deliver.apply.run import ExportedRun, view_manifest
from query.deliver.apply.tables import Tables, open_tables
from store.errors import RunDamaged
from store.pace import Pace
from store.s3 import S3Options
from store.s3.bucket import Bucket, Found
from store.s3.copying.copier import Copier
from store.s3.copying.records import CopyOptions

REQUESTS_AT_ONCE = 64


@dataclass(frozen=True)
class ApplyOptions:
    """How `apply --to` copies; `honours_conditions` as `store.s3.bucket.Bucket` takes it."""

    copying: CopyOptions = field(default_factory=CopyOptions)
    whole_keys: bool = False
    workers: int = REQUESTS_AT_ONCE
    honours_conditions: bool | None = None


class CopyJob:
    """One run and one destination: look at it, then carry it out."""

    def __init__(self, run: ExportedRun, to: Bucket, tables: Tables, s3: S3Options, options: ApplyOptions) -> None:
        """Use `open_copy_job`."""
        self._run, self._to, self._tables, self._s3, self._options = run, to, tables, s3, options
        self._folder = apply_folder(run.location, to.uri)
        self._journal = Journal(self._folder, COPIES)
        self._looked_at = float("-inf")

    @property
    def record(self) -> str:
        """Where the journal and `not_copied.csv` lie."""
        return self._folder.uri

    def plan(self) -> Plan:
        """Look at the destination, and say what is to be done; nothing is written anywhere."""
        look(self._tables, self._to, self._journal)
        self._looked_at = time.monotonic()
        return describe(self._tables, self._to, self._options.copying)

    def carry_out(self, on_progress: OnProgress = lambda _done, _all: None) -> Plan:
        """Copy what is missing, and return how everything stands afterwards, by a new listing of the destination.

        Ended at any moment, the same call goes on from there.
        """
        if time.monotonic() - self._looked_at > SEEN_JUST_NOW_S:
            self.plan()
        declare(self._folder, self._declaration())
        self._finish_what_was_left()
        before = describe(self._tables, self._to, self._options.copying)
        notes = Notes(self._journal, self._to.clock)
        copier = Copier(self._to, self._s3, self._options.copying, Pace(self._options.workers), notes.uploading)
        with ThreadPoolExecutor(self._options.workers) as pool:
            is_allowed = "copied" in before.states
            CopyLoop(pool, copier, notes, on_progress, before.to_do.objects, is_allowed).run(self._batches())
        after = self.plan()
        self._write_not_copied()
        return after

    def to_be_looked_at(self, most: int) -> list[dict[str, Any]]:
        """Return kept images that are not at the destination as they should be: uri, to_key, state, detail."""
        return self._tables.rows("not_copied")[:most]

    def _declaration(self) -> dict[str, Any]:
        return {
            "kind": "copies",
            "destination": self._to.uri,
            "run_id": self._run.run_id,
            "run_metadata_sha256": self._run.metadata_sha256,
            "copying": asdict(self._options.copying),
            "whole_keys": self._options.whole_keys,
            "tool_version": version("clipsieve"),
            "begun_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _finish_what_was_left(self) -> None:
        """Record copies that an ended process has made without recording them, and drop its unfinished uploads."""
        for upload in self._tables.rows("unfinished"):
            self._to.abort(upload["key"], upload["upload_id"])
        unrecorded = self._tables.rows("unrecorded")
        notes = Notes(self._journal, self._to.clock)
        for row in unrecorded:
            found = Found(row["to_key"], row["etag"], row["size_bytes"], row["last_modified"], row["version_id"])
            is_ours = row["state"] == "copied" or (row["sha256"] and self._to.sha256(found) == row["sha256"])
            notes.left_behind(row, found if is_ours else None)
        notes.flush()
        if unrecorded:
            self._tables.read_journal(self._journal)
            self._tables.make("states")

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        after = 0
        while batch := self._tables.rows("batch", after=after, rows=BATCH_ROWS):
            yield batch
            after = batch[-1]["place"]

    def _write_not_copied(self) -> None:
        """Write beside the journal what is to be looked at, for people."""
        path = self._tables.folder / "not_copied.csv"
        self._tables.query("not_copied").write_csv(str(path))
        self._folder.write(path.name, path)


@contextmanager
def open_copy_job(run: ExportedRun, to: str, s3: S3Options, options: ApplyOptions) -> Iterator[CopyJob]:
    """Check run and destination; nothing is written before `carry_out`. Raise RunDamaged or UsageError."""
    place = Bucket(normalised(to), s3, honours_conditions=options.honours_conditions)
    check_place(run, place.uri)
    with open_tables(run.location) as tables:
        run.fetch(tables.folder)
        if not view_manifest(tables.connection, tables.folder, "kept"):
            raise RunDamaged(f"{run.location.uri} has no kept.csv.", do="Name the folder that `export` has written.")
        words = {"sources": run.sources, "prefix": place.prefix, "whole_keys": options.whole_keys}
        tables.make("planned", **words)
        check_keys(run, tables, place.prefix)
        yield CopyJob(run, place, tables, s3, options)
