"""The one expensive step: every pending object of a source is read, decoded and embedded once, and accounted for.

    lister thread    page -> listing, ledger -> pending objects -> backlog on local disk
    feeder thread    backlog -> what no other job has done (embed/company.py) -> budget -> readers
    reader threads   object -> bytes (embed/patience.py) -> a decoder (embed/prepare.py)
    decoders         bytes -> pixels, in processes of their own (embed/decoders)
    caller's thread  pixels -> batch -> device, and back one batch later -> rows
    writer thread    rows -> part (embed/writer.py)

Stopped at any moment, what is in parts is done and everything else is done by the next run.
"""

import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread

from embed.backlog import Backlog
from embed.batches import Batches, image_row
from embed.company import Company
from embed.decoders import Memory
from embed.encoders import Towers
from embed.on_device.waiting import STAGE, Waiting
from embed.patience import Reads, patiently
from embed.prepare import Budget, Prepared, Preparer
from embed.progress import PYTHON, Tally
from embed.readers import Readers
from embed.refusals import refuse_empty, refuse_forbidden
from embed.request import JobOptions, Summary
from embed.silence import native_output_silenced
from embed.sources import Source
from embed.ways import decoding_of, only_hands_on, ways_of
from embed.writer import PartWriter
from store.again import Answer
from store.extra_columns import keep_columns
from store.layout import EncoderStore, new_run_id
from store.ledger import Ledger, Newcomers
from store.listings import ListingWriter
from store.prompts import add_prompts, missing_prompts
from store.records import SourceObject, Status

BYTES_SHARE = 4
"""One part in so many of the memory for images is for bytes that are read; the rest is for pixels of large pictures."""

TICK_S = 0.1
"""So often whoever watches is told. An image takes a tenth of what it costs to say so in a line, and to read it."""


@dataclass(frozen=True)
class Job:
    """One embed job. `stop` may be set from any thread or signal handler; `on_tick` is called a few times a second.

    `over` is set when the job ends; it ends every wait.
    """

    source: Source
    store: EncoderStore
    towers: Towers
    options: JobOptions
    stop: Event
    tally: Tally
    on_tick: Callable[[], None] = lambda: None
    over: Event = field(default_factory=Event)

    def run(self, prompts: Iterable[str] = ()) -> Summary:
        """Embed what is pending; cache the vectors of `prompts` first, so that scoring needs no text tower."""
        texts = missing_prompts(self.store, prompts)
        if texts:
            with self.tally.stage("prompts"):
                add_prompts(self.store, texts, self.towers.text.encode(texts))
        if self.options.compile:
            with self.tally.stage("compile"):
                self.towers.image.compile(self.options.batch_size)
        run_id = new_run_id(self.store.newest_run())
        with native_output_silenced():
            _Flow(self, run_id).run()
        return Summary.of(
            self.tally,
            run_id=run_id,
            encoder_id=self.store.encoder.encoder_id,
            source=self.source.uri,
            stopped=self.stop.is_set(),
        )


class _Flow:
    """The threads of one run and what passes between them."""

    def __init__(self, job: Job, run_id: str) -> None:
        self._job, self._run_id, self._tally = job, run_id, job.tally
        options, readers = job.options, job.source.readers
        for_bytes = options.room_bytes // BYTES_SHARE
        self._budget = Budget(max(4 * options.batch_size, 2 * readers), for_bytes)
        self._ready: queue.SimpleQueue[Prepared | BaseException | None] = queue.SimpleQueue()
        self._over = job.over
        self._reads = Reads(job.source, options.patience_s, self._over)
        self._memory = Memory(options.room_bytes - for_bytes)
        self._decoding = decoding_of(job.towers, options, self._memory)
        self._ways = ways_of(job.towers, options, self._memory)
        self._waiting: Waiting | None = None
        self._prepare = Preparer(self._reads, self._decoding, job.tally)
        self._backlog = Backlog()
        # No method of this is handed on: what would hold it as it holds that, nobody would let go when the job ends.
        again = partial(patiently, limit_s=options.patience_s, over=job.over)
        newcomers = again(partial(Newcomers, job.store, run_id, retry_failed=options.retry_failed))
        self._company = Company(newcomers, self._backlog, job.tally, options.shard, again)
        service = self._reads.service
        job.tally.trouble = lambda: service.trouble
        places = {"read": readers, "decode": self._decoding.count, "encode": 1, "write": 1}
        if self._ways:
            places[STAGE] = 1
        if only_hands_on(job.towers.device, self._decoding):
            places[PYTHON] = 1
        job.tally.work_begins(places)
        self._readers = Readers(readers, self._work)

    def run(self) -> None:
        """Start the threads, encode until everything pending has its outcome or a stop is asked for."""
        threads = [Thread(target=work, name=work.__name__, daemon=True) for work in (self._list, self._feed)]
        for thread in threads:
            thread.start()
        limits = (self._job.options.part_rows, self._job.options.part_age_s)
        try:
            with PartWriter(self._job.store, self._run_id, limits, self._tally, self._job.options.patience_s) as writer:
                self._encode_all(writer)
        finally:
            self._over.set()
            for waited_for in (self._reads, self._budget, self._memory):
                waited_for.close()
            for thread in threads:
                thread.join()
            self._backlog.close()
            self._readers.close()
            self._decoding.close()
            if self._ways:
                self._ways.in_full.close()

    def _list(self) -> None:
        """Put every pending object into the backlog, and the listing into the store once it is complete."""
        job, options = self._job, self._job.options
        try:
            with (
                Ledger(job.store, retry_failed=options.retry_failed, shard=options.shard, again=self._again) as ledger,
                ListingWriter(job.store, job.source.uri, self._run_id, job.source.covers) as listing,
            ):
                for page in job.source.pages():
                    if self._over.is_set():
                        return
                    mine = options.shard.of(page)
                    pending = ledger.pending(mine)
                    listing.add(page)
                    self._tally.listed += len(mine)
                    self._tally.add_done(len(mine) - len(pending))
                    self._backlog.put(pending)
                refuse_empty(job.source, listing.objects)
                self._again(listing.finish)
                if said := job.source.extra_columns:
                    self._again(partial(keep_columns, job.store, self._run_id, said))
            self._tally.listing_complete = True
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, which raises it
            self._ready.put(error)
        finally:
            self._backlog.end()

    def _again(self, do: Callable[[], Answer]) -> Answer:
        """Ask the store for something, and wait where it is away."""
        return patiently(do, self._job.options.patience_s, self._over)

    def _feed(self) -> None:
        """Submit the backlog, as fast as the budget allows; the last thing put on the queue is None."""
        try:
            for page in self._backlog.pages():
                for wanted in self._company.left_of(page):
                    if not self._budget.take(wanted.size_bytes):
                        return
                    self._readers.put(wanted)
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, which raises it
            self._ready.put(error)
        finally:
            self._ready.put(None)

    def _work(self, wanted: SourceObject) -> None:
        try:
            self._ready.put(self._prepare(wanted))
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, which raises it
            self._ready.put(error)

    def _encode_all(self, writer: PartWriter) -> None:
        size = self._job.options.batch_size
        batches = Batches(self._job.towers.image, size, writer.add, self._tally)
        settle = partial(self._settle, batches=batches, writer=writer)
        self._waiting = Waiting(self._ways, size, settle, self._tally) if self._ways else None
        feeding = True
        taken = 0
        next_tick = 0.0
        while feeding or taken < self._tally.wanted:
            if (now := time.monotonic()) >= next_tick:
                next_tick = now + TICK_S
                self._tally.note_python()
                self._job.on_tick()
                writer.flush_if_due()
            if self._job.stop.is_set():
                break
            try:
                item = self._ready.get(timeout=0.2)
            except queue.Empty:
                self._finish(batches)  # the source is slower than the model: nothing is gained by waiting
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                feeding = False
                continue
            taken += 1
            self._budget.give_back(item.source_object.size_bytes)
            if self._waiting and item.jpeg is not None:
                self._waiting.take(item)
            else:
                settle(item)
        self._finish(batches)
        self._tally.note_python()

    def _finish(self, batches: Batches) -> None:
        """Bring what waits to its end, though it fills no batch."""
        if self._waiting:
            self._waiting.finish()
        batches.finish()

    def _settle(self, item: Prepared, batches: Batches, writer: PartWriter) -> None:
        """Take an image with the encoder's pixels to the device, and one without to its row."""
        if item.outcome.status is Status.EMBEDDED:
            batches.take(item)
            return
        writer.add(image_row(item, None))
        if item.outcome.status is Status.NOT_AN_IMAGE:
            self._tally.not_images += 1
        else:
            self._tally.errors[str(item.outcome.error_code)] += 1
            if batches.is_empty and (self._waiting is None or self._waiting.is_empty):  # what waits there could be read
                refuse_forbidden(self._job.source, self._tally)
