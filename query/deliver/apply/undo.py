"""`undo` of copies: what apply has made goes, and nothing else; of several versions exactly that one."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from query.deliver.apply.copies import REQUESTS_AT_ONCE
from query.deliver.apply.copying import OnProgress
from query.deliver.apply.journal import COPIES, Journal, retire
from query.deliver.apply.plan import SEEN_JUST_NOW_S, Count
from query.deliver.apply.tables import Tables, open_tables
from store.errors import LocationError
from store.location import Location
from store.s3 import S3Options
from store.s3.bucket import Bucket, Clock, Found, TakenBack

_ROWS_AT_ONCE = 1000
_ROWS_AT_FIRST = 20
"""Should nothing be allowed, few requests find that out."""


@dataclass(frozen=True)
class UndoPlan:
    """What stands at the destination: ours, what is another's by now, and what is gone already."""

    destination: str
    ours: Count
    not_ours: int
    not_ours_examples: tuple[str, ...]
    gone: int
    unfinished_uploads: int


class UndoJob:
    """The way back of one application."""

    def __init__(self, folder: Location, to: Bucket, tables: Tables) -> None:
        """Use `open_undo_job`."""
        self._folder, self._to, self._tables = folder, to, tables
        self._journal = Journal(folder, COPIES)
        self._seen: tuple[float, UndoPlan] | None = None

    @property
    def destination(self) -> str:
        """Where the copies were made."""
        return self._to.uri

    def plan(self) -> UndoPlan:
        """Look at the destination; nothing is written or deleted anywhere."""
        self._look()
        rows = {row["state"]: row for row in self._tables.rows("undo_tally")}
        ours, others, gone = (rows.get(state, {}) for state in ("ours", "not_ours", "gone"))
        plan = UndoPlan(
            destination=self._to.uri,
            ours=Count(ours.get("objects", 0), ours.get("size_bytes", 0)),
            not_ours=others.get("objects", 0),
            not_ours_examples=tuple(others.get("examples", ())),
            gone=gone.get("objects", 0),
            unfinished_uploads=len(self._tables.rows("unfinished")),
        )
        self._seen = time.monotonic(), plan
        return plan

    def carry_out(self, on_progress: OnProgress = lambda _done, _all: None) -> UndoPlan:
        """Delete what is ours; return what stands then, by a new listing.

        Ended at any moment, the same call goes on from there.
        """
        seen_at, before = self._seen or (float("-inf"), None)
        if before is None or time.monotonic() - seen_at > SEEN_JUST_NOW_S:
            before = self.plan()
        clock = self._to.clock
        for upload in self._tables.rows("unfinished"):
            self._to.abort(upload["key"], upload["upload_id"])
            self._journal.write([{"key": upload["key"], "outcome": "aborted", "noted_at": clock.now()}])
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            self._delete(pool, clock, on_progress, before.ours.objects)
        after = self.plan()
        if not after.ours.objects and not after.unfinished_uploads:
            retire(self._folder)
        return after

    def _look(self) -> None:
        """See what is ours, by the bytes where an etag does not tell."""
        pages = self._to.versions() if self._to.keeps_versions() else self._to.objects()
        self._tables.list_present(pages)
        self._tables.read_journal(self._journal)
        unsettled = [_found(row) for row in self._tables.rows("unsettled") if self._is_ours(row)]
        self._tables.settle(unsettled)
        self._tables.make("taken_back")

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        return self._to.sha256(_found(row)) == str(row["sha256"])

    def _delete(self, pool: Executor, clock: Clock, on_progress: OnProgress, wanted: int) -> None:
        done = 0
        for batch in self._batches():
            running = {pool.submit(self._to.take_back, found): found for found in batch}
            rows, forbidden = [], ""
            try:
                for future in wait(running).done:
                    outcome, detail = future.result()
                    rows.append(_noted(running[future], outcome, clock, detail))
                    if outcome is TakenBack.FORBIDDEN:
                        forbidden = f"Cannot delete s3://{self._to.bucket}/{running[future].key}: {detail}."
            finally:
                self._journal.write(rows)
            if forbidden and all(row["outcome"] == TakenBack.FORBIDDEN for row in rows):
                raise LocationError(forbidden, do="Allow the action; docs/apply.md lists what is needed.")
            done += len(batch)
            on_progress(done, wanted)

    def _batches(self) -> Iterator[list[Found]]:
        after, rows = 0, _ROWS_AT_FIRST
        while batch := self._tables.rows("undo_batch", after=after, rows=rows):
            yield [_found(row) for row in batch]
            after, rows = batch[-1]["place"], _ROWS_AT_ONCE


@contextmanager
def open_undo_job(
    run: Location, folder: Location, record: Mapping[str, Any], s3: S3Options, *, honours_conditions: bool | None = None
) -> Iterator[UndoJob]:
    """Open the way back of one application of a run; nothing is deleted before `carry_out`."""
    to = Bucket(str(record["destination"]), s3, honours_conditions=honours_conditions)
    with open_tables(run) as tables:
        yield UndoJob(folder, to, tables)


def _found(row: Mapping[str, Any]) -> Found:
    return Found(row["key"], row["etag"], row["size_bytes"], row["last_modified"], row["version_id"])


def _noted(found: Found, outcome: TakenBack, clock: Clock, detail: str | None) -> dict[str, Any]:
    return {
        "key": found.key,
        "outcome": outcome.value,
        "noted_at": clock.now(),
        "etag": found.etag,
        "size_bytes": found.size_bytes,
        "version_id": found.version_id,
        "detail": detail,
    }
