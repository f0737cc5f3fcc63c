"""Lists here, embeds on Ray, and asks the store at the end whether anything is missing."""

import pickle  # between our own processes
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from embed.backlog import Backlog
from embed.decoders import Settings
from embed.encoders import Towers
from embed.metrics import metrics_file
from embed.on_ray.cluster import joined, ray_module
from embed.on_ray.stages import OBJECT, Encode, Prepare, Work
from embed.patience import patiently
from embed.progress import Tally
from embed.refusals import refuse_empty
from embed.request import EmbedRequest, OnStart, Started, Summary
from embed.sources import Source, recalling
from embed.stopping import stopped_by_signals
from embed.ways import settings_of
from store.again import Answer
from store.errors import ClipsieveError, NotNow, SourceError, UsageError
from store.extra_columns import keep_columns
from store.layout import EncoderStore, Store, new_run_id
from store.ledger import Ledger
from store.listings import ListingWriter
from store.prompts import add_prompts, missing_prompts
from store.records import SourceObject

WAVE = 500_000
"""Objects that Ray is told of at once, some 200 bytes each; the rest waits on local disk."""

_ROWS = 256
"""Objects that one prepare actor takes at a time."""

PART_ROWS = 4096
"""At most so many rows make a part here: their pixels are in the memory of one actor at once, 150 KB each."""

_ROUNDS = 3


def run_on_ray(request: EmbedRequest, prompts: Sequence[str], on_start: OnStart) -> Summary:
    """Run one embed job on Ray: the cluster of RAY_ADDRESS, the one this process has joined, or this machine."""
    ray = ray_module()
    from embed.start import made_ready  # noqa: PLC0415  # which imports this module

    stop = threading.Event()
    patience_s = request.options.patience_s
    source, location, towers = made_ready(request, again=lambda do: patiently(do, patience_s, stop))
    store = Store.create(location).add_encoder(towers.encoder)
    if texts := missing_prompts(store, prompts):
        add_prompts(store, texts, towers.text.encode(texts))
    run_id = new_run_id(store.newest_run())
    tally, work = Tally(), Work(request, store.encoder, _settings(request, towers), run_id)
    with metrics_file(request.metrics, tally, source.uri, towers.encoder) as write_metrics, stopped_by_signals(stop):
        show = on_start(Started(towers.encoder, f"{towers.device}, on Ray", tally))

        def on_tick() -> None:
            show()
            write_metrics()

        with joined(ray):
            _Flow(ray, work, recalling(source, store), store, tally, stop, on_tick).run()
    return Summary.of(
        tally, run_id=run_id, encoder_id=store.encoder.encoder_id, source=source.uri, stopped=stop.is_set()
    )


@dataclass(frozen=True)
class _Flow:
    """One run: its listing, its waves, and the question at the end."""

    ray: Any  # the module
    work: Work
    source: Source
    store: EncoderStore
    tally: Tally
    stop: threading.Event
    on_tick: Callable[[], None]

    def run(self) -> None:
        """Embed until the store holds everything; raise ClipsieveError where it does not after several rounds."""
        backlog = Backlog()
        try:
            self._list(backlog)
            for wave in _waves(backlog):
                self._embed(wave)
        except (NotNow, SourceError):
            if not self.stop.is_set():  # which ends every wait for what is away
                raise
        finally:
            backlog.close()

    def _list(self, backlog: Backlog) -> None:
        """List the whole source into the store and onto local disk."""
        options, run_id = self.work.request.options, self.work.run_id
        with (
            Ledger(self.store, retry_failed=options.retry_failed, shard=options.shard, again=self._patiently) as ledger,
            ListingWriter(self.store, self.source.uri, run_id, self.source.covers) as listing,
        ):
            for page in self.source.pages():
                if self.stop.is_set():
                    backlog.end()
                    return
                mine = options.shard.of(page)
                pending = ledger.pending(mine)
                listing.add(page)
                self.tally.listed += len(mine)
                self.tally.already_done += len(mine) - len(pending)
                backlog.put(pending)
                self.on_tick()
            refuse_empty(self.source, listing.objects)
            self._patiently(listing.finish)
        if said := self.source.extra_columns:
            self._patiently(partial(keep_columns, self.store, run_id, said))
        self.tally.listing_complete = True
        backlog.end()

    def _patiently(self, do: Callable[[], Answer]) -> Answer:
        return patiently(do, self.work.request.options.patience_s, self.stop)

    def _embed(self, wave: Sequence[SourceObject]) -> None:
        """Embed some objects; those that an actor took with it when it died are embedded again."""
        left = wave
        for _round in range(_ROUNDS):
            if not left or self.stop.is_set():
                return
            self._once(left)
            with Ledger(self.store.refreshed(), again=self._patiently) as ledger:
                left = ledger.pending(left)
        if left and not self.stop.is_set():
            raise ClipsieveError(
                f"{len(left):,} images of {self.source.uri} are still pending after {_ROUNDS} rounds.",
                "Actors died again and again.",
                "Look at Ray's logs, then run the same command again: it goes on from here.",
            )

    def _once(self, wanted: Sequence[SourceObject]) -> None:
        request = self.work.request
        gpus = 1 if self.ray.cluster_resources().get("GPU", 0) >= 1 and request.device != "cpu" else 0
        count = int(self.ray.cluster_resources()["GPU"]) if gpus else 1
        objects = self.ray.data.from_arrow(list(_tables(wanted)))
        rows = objects.map_batches(
            Prepare,
            fn_constructor_args=[self.work],
            batch_size=_ROWS,
            batch_format="pyarrow",
            concurrency=(1, 2 * count),
            num_cpus=1,
        ).map_batches(
            Encode,
            fn_constructor_args=[self.work],
            batch_size=min(request.options.part_rows, PART_ROWS),
            batch_format="pyarrow",
            concurrency=count,
            num_gpus=gpus,
            num_cpus=0 if gpus else 1,
        )
        try:
            for done in rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                self._count(done)
                self.on_tick()
                if self.stop.is_set():
                    return
        except self.ray.exceptions.RayError as error:
            raise _said_by_an_actor(error) from error

    def _count(self, done: pa.Table) -> None:
        """Add what an actor has written."""
        self.tally.embedded += sum(done["embedded"].to_pylist())
        self.tally.not_images += sum(done["not_images"].to_pylist())
        self.tally.bytes_read += sum(done["bytes_read"].to_pylist())
        self.tally.errors.update(chain.from_iterable(done["errors"].to_pylist()))


def _said_by_an_actor(error: BaseException) -> BaseException:
    """Return the error of ours that an actor has ended with, as it raised it; Ray's own where it is none."""
    cause: BaseException | None = error
    while cause is not None:
        inner = getattr(cause, "cause", None)
        for one in (cause, inner):
            if isinstance(one, ClipsieveError) and type(one).__module__ == ClipsieveError.__module__:
                return one
        cause = inner if isinstance(inner, BaseException) and inner is not cause else cause.__cause__
    return error


def _waves(backlog: Backlog) -> Iterator[list[SourceObject]]:
    objects = chain.from_iterable(backlog.pages())
    while wave := list(islice(objects, WAVE)):
        yield wave


def _tables(wanted: Sequence[SourceObject]) -> Iterator[pa.Table]:
    """Return blocks of objects, as many rows in each as an actor takes at a time."""
    for first in range(0, len(wanted), _ROWS):
        some = [pickle.dumps(one, pickle.HIGHEST_PROTOCOL) for one in wanted[first : first + _ROWS]]
        yield pa.table({OBJECT: pa.array(some, pa.binary())})


def _settings(request: EmbedRequest, towers: Towers) -> Settings:
    """Return how actors decode, which do not hold the model."""
    image = towers.image
    if image.geometry is None:
        raise UsageError(
            f"{towers.encoder.model_name} prepares pictures in a way that only its own library knows.",
            "With --engine ray pictures are prepared apart from the model.",
            "Leave out --engine ray.",
        )
    return settings_of(towers, request.options)
