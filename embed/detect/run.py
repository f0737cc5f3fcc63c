"""Plan a second look, then take it: every image of the band ends in a row for each question, or is left for next time.

    worker threads   object -> bytes -> pixels, or the service's answers
    caller's thread  pixels -> batch -> answers -> rows -> part

Stopped at any moment, what is in parts is done, and the same command does the rest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from embed.decode import Refused
from embed.detect.looking import Local, Looker
from embed.detect.owl import Owl
from embed.detect.parts import Parts
from embed.detect.questions import REMOTE, questions
from embed.detect.reading import Reader, Wanted, wanted
from embed.detect.remote import Remote
from embed.detect.request import PRICE_USD, ConfirmRequest, Findings
from embed.progress import Tally
from embed.silence import native_output_silenced
from embed.sources import ReadFailed
from embed.stopping import stopped_by_signals
from store.errors import ClipsieveError, SourceError
from store.layout import EncoderStore, new_run_id
from store.measurements import Measurement, looked_at
from store.records import ErrorCode, Outcome, Status, failed
from store.rekognition import ImageRefused, Rekognition

ALL_FAILED = 32
"""When so many images fail before a single one could be looked at, the fault is not theirs."""

OnStart = Callable[[Tally], Callable[[], None]]
"""Told what is about to be done; returns what is to be called now and then."""


@dataclass(frozen=True)
class Plan:
    """What a second look would do; nothing has been asked or written yet."""

    request: ConfirmRequest
    store: EncoderStore
    looker: Looker
    in_band: int
    done: int  # of these: looked at before
    pending: tuple[Wanted, ...]  # to be looked at now, within the request's limit

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of the view `candidates` that the answers fill."""
        return tuple(f"{self.looker.record.kind}_{label}" for label in self.looker.labels)

    @property
    def price_usd(self) -> float | None:
        """Return the price of a call for one image; None for a detector that is not paid for."""
        price = self.request.detector.price_usd
        return None if not self.looker.calls else PRICE_USD if price is None else price

    @property
    def cost_usd(self) -> float | None:
        """Return what all of it would cost."""
        return None if self.price_usd is None else self.price_usd * len(self.looker.calls) * len(self.pending)

    def seconds_per_image(self, tried: int) -> float | None:
        """Look at a few images, keep nothing, and return how long one takes; None where none could be looked at."""
        seconds: list[float] = []
        with native_output_silenced():
            for one in self.pending[:tried]:
                start = time.perf_counter()
                looked = _look(self.looker, one).result
                if isinstance(looked, ClipsieveError):
                    raise looked
                if not isinstance(looked, Outcome):
                    self.looker.answer([looked])
                    seconds.append(time.perf_counter() - start)
        settled = seconds[1:] or seconds  # the first one waits for what is loaded late
        return sum(settled) / len(settled) if settled else None

    def run(self, on_start: OnStart = lambda _tally: lambda: None) -> Findings:
        """Look at what is pending; Ctrl-C or SIGTERM asks it to finish the batch in hand."""
        tally = Tally(listed=self.in_band, already_done=self.in_band - len(self.pending), listing_complete=True)
        on_tick, stop, run_id = on_start(tally), threading.Event(), new_run_id()
        with (
            stopped_by_signals(stop),
            native_output_silenced(),
            Parts(self.store, self.looker, self.request.detector, run_id) as parts,
        ):
            for batch in _batches(self.looker, self.pending, stop):
                _record(self.looker, batch, parts, tally)
                tally.bytes_read = self.looker.reader.bytes_read
                on_tick()
        return Findings(
            run_id=run_id,
            detector_id=self.looker.record.detector_id,
            columns=self.columns,
            looked_at=tally.embedded,
            errors=dict(tally.errors),
            seconds=tally.seconds,
            stopped=tally.finished < len(self.pending),
        )


def plan(request: ConfirmRequest, store: EncoderStore, band: pa.Table) -> Plan:
    """Load the detector and find what it has not looked at; `band` is in the order in which images are to be taken.

    Raise a ClipsieveError in one sentence where the detector cannot be had.
    """
    looker = _looker(request)
    images = tuple(wanted(band))
    retry = request.detector.retry_failed
    done = looked_at(store, looker.record, looker.labels, failed_too=not retry)
    pending = tuple(one for one in images if one.source_object.image_id not in done)
    return Plan(request, store, looker, len(images), len(images) - len(pending), pending[: request.limit])


def _looker(request: ConfirmRequest) -> Looker:
    options, reader = request.detector, Reader(request.s3)
    asked = questions(options.kind, request.concept, options.what)
    if options.kind == REMOTE:
        service = Rekognition(request.s3, options.rekognition_endpoint_url, options.rekognition_region)
        return Remote(service, reader, asked)
    return Local(Owl(options.kind, options.weights, asked, options.device), reader, options.batch_size)


@dataclass(frozen=True)
class _Looked:
    """One image after the first half of the work: what the second half takes, or why there is nothing."""

    wanted: Wanted
    result: Any  # or an Outcome, or a ClipsieveError


def _look(looker: Looker, one: Wanted) -> _Looked:
    """Return the image looked at, the outcome of one that cannot be, or the error that ends the job."""
    try:
        return _Looked(one, looker.look(one))
    except (ReadFailed, Refused, ImageRefused) as refused:
        outcome = refused.outcome
        if outcome.status is Status.NOT_AN_IMAGE:
            outcome = failed(ErrorCode.UNSUPPORTED, "no image by its first bytes")
        return _Looked(one, outcome)
    except ClipsieveError as error:
        return _Looked(one, error)


def _batches(looker: Looker, pending: Sequence[Wanted], stop: threading.Event) -> Iterator[list[_Looked]]:
    """Yield images in their order, some at a time, read ahead by threads; end early where a stop is asked for."""
    batch: list[_Looked] = []
    for looked in _looked_ahead(looker, pending, stop):
        batch.append(looked)
        if len(batch) >= looker.batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _looked_ahead(looker: Looker, pending: Sequence[Wanted], stop: threading.Event) -> Iterator[_Looked]:
    """Yield each image when it is looked at; after a stop those that are begun, since their answers may be paid for.

    Raise what ends the job, after the images that were begun before it.
    """
    fatal: ClipsieveError | None = None
    with _pool(looker.readers) as pool:
        for future in _begun(pool, looker, pending, stop):
            looked = future.result()
            if isinstance(looked.result, ClipsieveError):
                fatal = fatal or looked.result
                stop.set()
            else:
                yield looked
    if fatal is not None:
        raise fatal


def _begun(
    pool: ThreadPoolExecutor, looker: Looker, pending: Sequence[Wanted], stop: threading.Event
) -> Iterator[Future[_Looked]]:
    """Yield the work in its order, a little of it running ahead; what a stop finds not begun is left out."""
    waiting: deque[Future[_Looked]] = deque()
    for one in pending:
        if stop.is_set():
            break
        waiting.append(pool.submit(_look, looker, one))
        if len(waiting) >= looker.readers + looker.batch_size:
            yield waiting.popleft()
    for future in waiting:
        if not (stop.is_set() and future.cancel()):
            yield future


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool whose waiting work is dropped when the block ends."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="looker")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _record(looker: Looker, batch: Sequence[_Looked], parts: Parts, tally: Tally) -> None:
    """Answer what could be read and write down every image of a batch."""
    good = [one for one in batch if not isinstance(one.result, Outcome)]
    answered = looker.answer([one.result for one in good]) if good else []
    now = datetime.now(UTC)
    for one, answers in zip(good, answered, strict=True):
        image_id = one.wanted.source_object.image_id
        parts.add(
            [Measurement(image_id, label, model, now, seen) for model, all_ in answers for label, seen in all_.items()]
        )
        tally.embedded += 1
    for one in batch:
        if isinstance(outcome := one.result, Outcome):
            image_id, model = one.wanted.source_object.image_id, looker.record.model
            parts.add([Measurement(image_id, label, model, now, None, outcome) for label in looker.labels])
            tally.errors[str(outcome.error_code)] += 1
            _refuse_all_failed(tally, outcome)


def _refuse_all_failed(tally: Tally, last: Outcome) -> None:
    """Raise where nothing at all could be looked at: recording a whole band as failed would help nobody."""
    if not tally.embedded and sum(tally.errors.values()) >= ALL_FAILED:
        raise SourceError(
            f"The first {ALL_FAILED} images all failed, the last one with {last.error_code}: {last.error_detail}.",
            "The fault is hardly theirs.",
            "Mend it, then run the same command with --retry-failed.",
        )
