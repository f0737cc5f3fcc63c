"""Lists, embeds a few images into a store that is thrown away, and multiplies; nothing is written to the real one."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from embed.encoders import Towers
from embed.estimate.record import Estimate
from embed.job import Job
from embed.progress import Tally
from embed.request import JobOptions
from embed.sources import Fetched, Source
from embed.sources.selection import sampled
from store.layout import EncoderStore, Store
from store.ledger import Ledger
from store.location import FolderLocation
from store.records import SourceObject
from store.shards import WHOLE

SAMPLE = 200
_BATCH = 25
"""Small, so that the rate can be told from the first batch to the last."""


def estimate(source: Source, store: EncoderStore | None, towers: Towers, options: JobOptions) -> Estimate:
    """Return what embedding the rest of `source` would take; `store` is what there is of it already."""
    counted = _Counted(source, store, options)
    few = sampled(counted.pending(), SAMPLE, seed=0)
    trial = _try(_Few(source, few), towers, options) if few else _Trial(0, 0.0, 0.0, 0.0)
    return Estimate(
        source=source.uri,
        listed=counted.listed,
        already_done=counted.listed - counted.objects,
        pending=counted.objects,
        pending_bytes=counted.size_bytes,
        sampled=len(few),
        sampled_failed=trial.failed,
        seconds=trial.seconds,
        rate=trial.rate,
        store_bytes_each=trial.store_bytes_each,
        device=towers.device,
        from_s3=source.uri.startswith("s3://") or any(one.uri.partition("::")[2].startswith("s3://") for one in few),
    )


class _Counted:
    """Goes through the listing once and counts."""

    def __init__(self, source: Source, store: EncoderStore | None, options: JobOptions) -> None:
        self._source, self._store, self._options = source, store, options
        self.listed = self.objects = self.size_bytes = 0

    def pending(self) -> Iterator[SourceObject]:
        """Yield what no part holds yet."""
        shard = self._options.shard
        ledger = Ledger(self._store, retry_failed=self._options.retry_failed, shard=shard) if self._store else None
        for page in self._source.pages():
            mine = shard.of(page)
            rest = ledger.pending(mine) if ledger else mine
            self.listed += len(mine)
            self.objects += len(rest)
            self.size_bytes += sum(one.size_bytes for one in rest)
            yield from rest


@dataclass(frozen=True)
class _Few:
    """Some objects of a source, as a source."""

    source: Source
    objects: list[SourceObject]
    covers: None = None
    extra_columns: None = None

    @property
    def uri(self) -> str:
        return self.source.uri

    @property
    def readers(self) -> int:
        return self.source.readers

    def pages(self) -> Iterator[list[SourceObject]]:
        yield self.objects

    def fetch(self, wanted: SourceObject) -> Fetched:
        return self.source.fetch(wanted)


@dataclass(frozen=True)
class _Trial:
    failed: int
    seconds: float
    rate: float
    store_bytes_each: float


def _try(few: _Few, towers: Towers, options: JobOptions) -> _Trial:
    """Run the job itself on a few objects, into a store of their own."""
    tally, clock = Tally(), _Clock()
    trial = replace(options, batch_size=min(options.batch_size, _BATCH), shard=WHOLE)
    with tempfile.TemporaryDirectory(prefix="clipsieve-estimate-") as folder:
        store = Store.create(FolderLocation(Path(folder))).add_encoder(towers.encoder)
        summary = Job(few, store, towers, trial, threading.Event(), tally, clock.watching(tally)).run()
        clock.end(tally)
        size_bytes = sum(entry.size_bytes for entry in store.location.files())
    return _Trial(
        failed=sum(summary.errors.values()) + summary.not_images,
        seconds=clock.seconds,
        rate=clock.rate,
        store_bytes_each=size_bytes / len(few.objects),
    )


class _Clock:
    """Measures from the first images that are done to the last: what came before was the job getting under way."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._last = (self._began, 0)

    def watching(self, tally: Tally) -> Callable[[], None]:
        """Return what a job is to call a few times a second."""

        def tick() -> None:
            if self._first is None and tally.embedded:
                self._first = (time.monotonic(), tally.finished)

        return tick

    def end(self, tally: Tally) -> None:
        """Note the end."""
        self._last = (time.monotonic(), tally.finished)
        if self._first is None or self._first[1] == self._last[1]:
            self._first = (self._began, 0)

    @property
    def seconds(self) -> float:
        """Seconds that were measured."""
        return self._last[0] - self._first[0] if self._first else 0.0

    @property
    def rate(self) -> float:
        """Images a second."""
        return (self._last[1] - self._first[1]) / max(self.seconds, 1e-9) if self._first else 0.0
