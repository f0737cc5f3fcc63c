"""Many copies at a time, each noted before it is begun and after it has ended."""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from query.deliver.apply.journal import Journal
from store.errors import LocationError
from store.s3.bucket import Clock, Found
from store.s3.copying.copier import Copier
from store.s3.copying.records import Outcome, Result, Wanted

OnProgress = Callable[[int, int], None]

BATCH_ROWS = 1000
"""Copies that are noted as begun at once: a process that is killed leaves at most so many to be recognised."""
_WAITING = 256
_FLUSH_EVERY_S = 5.0
_NOTE_AGAIN_AFTER = timedelta(minutes=20)
"""A copy is recognised within an hour of its note, so that a slow service makes no note too old."""
_HOPELESS = 20
"""So many refusals without one success: the credentials are at fault, not the objects."""


class Notes:
    """Rows on their way into the journal. `uploading` is called by many threads, the rest by one."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Take times from the service's clock."""
        self._journal, self._clock = journal, clock
        self._rows: list[dict[str, Any]] = []
        self._flushed_at = time.monotonic()

    def begun(self, batch: Iterable[Mapping[str, Any]]) -> list[Wanted]:
        """Note that these copies are begun, and return them; what was noted before is written as well."""
        since = self._clock.now()
        wanted = [_wanted(row, since) for row in batch]
        for one in wanted:
            self._rows.append({**_row(one), "outcome": "begun", "noted_at": since})
        self.flush()
        return wanted

    def fresh(self, wanted: Wanted) -> Wanted:
        """Return the same copy; where its note has become old, with a new one."""
        now = self._clock.now()
        if now - wanted.since < _NOTE_AGAIN_AFTER:
            return wanted
        again = replace(wanted, since=now)
        self._journal.write([{**_row(again), "outcome": "begun", "noted_at": now}])
        return again

    def uploading(self, wanted: Wanted, upload_id: str) -> None:
        """Note an upload in parts, so that it can be dropped should this process end before it does."""
        now = self._clock.now()
        self._journal.write([{**_row(wanted), "outcome": "uploading", "upload_id": upload_id, "noted_at": now}])

    def ended(self, wanted: Wanted, result: Result) -> None:
        """Note what became of a copy; it is written with the next batch, or a few seconds later."""
        self._rows.append(
            {
                **_row(wanted),
                "outcome": result.outcome.value,
                "noted_at": self._clock.now(),
                "etag": result.etag,
                "version_id": result.version_id,
                "last_modified": result.last_modified,
                "detail": result.detail,
            }
        )
        if time.monotonic() - self._flushed_at > _FLUSH_EVERY_S:
            self.flush()

    def left_behind(self, row: Mapping[str, Any], found: Found | None) -> None:
        """Note what an ended process has left: the copy that was found, or an object of somebody else where None."""
        noted = {**row, "key": row["to_key"], "detail": "found after the process that was at it had ended"}
        if found is None:
            self._rows.append({**noted, "outcome": Outcome.OCCUPIED.value, "noted_at": self._clock.now(), "etag": None})
        else:
            self._rows.append({**noted, "outcome": Outcome.COPIED.value, "noted_at": found.last_modified})

    def flush(self) -> None:
        """Write what has been noted."""
        self._journal.write(self._rows)
        self._rows.clear()
        self._flushed_at = time.monotonic()


@dataclass
class CopyLoop:
    """Hands copies to threads and notes what comes of them."""

    pool: Executor
    copier: Copier
    notes: Notes
    on_progress: OnProgress
    copies: int
    is_allowed: bool  # something was copied before, so a refusal is about one object
    _running: dict[Future[Result], Wanted] = field(default_factory=dict)
    _done: int = 0

    def run(self, batches: Iterable[list[dict[str, Any]]]) -> None:
        """Make every copy; raise LocationError where nothing is allowed. What was done is noted in every case."""
        try:
            for batch in batches:
                for wanted in self.notes.begun(batch):
                    self._collect(down_to=_WAITING)
                    fresh = self.notes.fresh(wanted)
                    self._running[self.pool.submit(self.copier.copy, fresh)] = fresh
            self._collect(down_to=0)
        finally:
            for future in list(self._running):
                if future.cancel():
                    del self._running[future]
            self._note(wait(self._running).done)
            self.notes.flush()

    def _collect(self, down_to: int) -> None:
        """Wait until at most so many are under way; raise what ends the job."""
        while len(self._running) > down_to:
            if error := self._note(wait(self._running, return_when=FIRST_COMPLETED).done):
                raise error

    def _note(self, ended: Iterable[Future[Result]]) -> BaseException | None:
        """Note what has ended, and return what ends the job."""
        fatal: BaseException | None = None
        for future in ended:
            wanted = self._running.pop(future)
            if error := future.exception():
                fatal = error
                continue
            result = future.result()
            self.notes.ended(wanted, result)
            self._done += 1
            self.is_allowed |= result.outcome is not Outcome.FORBIDDEN
            if not self.is_allowed and self._done >= min(_HOPELESS, self.copies):
                fatal = _hopeless(wanted, result)
        self.on_progress(self._done, self.copies)
        return fatal


def _hopeless(wanted: Wanted, result: Result) -> LocationError:
    return LocationError(
        f"Cannot copy {wanted.uri}: {result.detail}.",
        "None of the copies that were tried is allowed.",
        "Allow the action in the bucket's or the role's policy; docs/apply.md lists what is needed.",
    )


def _wanted(row: Mapping[str, Any], since: datetime) -> Wanted:
    names = ("bucket", "key", "etag", "size_bytes", "sha256", "to_key")
    return Wanted(**{name: row[name] for name in names}, since=since)


def _row(wanted: Wanted) -> dict[str, Any]:
    return {
        "key": wanted.to_key,
        "uri": wanted.uri,
        "source_etag": wanted.etag,
        "size_bytes": wanted.size_bytes,
        "sha256": wanted.sha256,
        "since": wanted.since,
    }
