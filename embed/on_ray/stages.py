"""The two stages that Ray runs in actors: objects to pixels, and pixels to rows in the store.

Between them rows travel as they are in a local job, pickled: Ray moves bytes, and nothing else need know them.
"""

import os
import pickle  # between our own processes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event

import numpy as np
import pyarrow as pa

from embed.batches import image_row
from embed.decoders import Memory, Processes, Settings
from embed.encoders import load_image_tower, parse_encoder
from embed.encoders.torchvision_shim import wait_passively
from embed.patience import Reads, patiently
from embed.prepare import Prepared, Preparer
from embed.progress import Tally
from embed.request import EmbedRequest
from embed.silence import native_output_silenced
from embed.sources import open_source
from store.encoder import Encoder
from store.layout import locate, new_run_id, planned
from store.parts import write_images
from store.records import Status

OBJECT, PREPARED = "object", "prepared"


@dataclass(frozen=True)
class Work:
    """What every actor is told."""

    request: EmbedRequest
    encoder: Encoder
    settings: Settings
    run_id: str


class Prepare:
    """Reads, and decodes in a process of its own; many of them, one core each."""

    def __init__(self, work: Work) -> None:
        """Open the source; nothing is listed."""
        request = work.request
        patience_s, over = request.options.patience_s, Event()
        words = (request.selection, request.uri_column, request.inventory)
        source = open_source(request.source, request.s3, *words, again=lambda do: patiently(do, patience_s, over))
        self._tally = Tally()
        self._reads = Reads(source, patience_s, over)
        decoding = Processes(1, work.settings, Memory(request.options.memory_bytes))
        self._prepare = Preparer(self._reads, decoding, self._tally)
        self._pool = ThreadPoolExecutor(source.readers, thread_name_prefix="reader")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the objects with their pixels, or with the reason why there are none."""
        wanted = [pickle.loads(one) for one in batch[OBJECT].to_pylist()]  # noqa: S301  # as above
        with native_output_silenced():
            prepared = list(self._pool.map(self._prepare, wanted))
        found = [pickle.dumps(one, pickle.HIGHEST_PROTOCOL) for one in prepared]
        sizes = [one.source_object.size_bytes if one.sha256 else 0 for one in prepared]
        return pa.table({PREPARED: pa.array(found, pa.large_binary()), "bytes_read": pa.array(sizes, pa.int64())})


class Encode:
    """Holds the model, loaded once, and writes parts of its own under a run of its own.

    A run of its own, because an actor that dies may have written what it is asked for again: of two runs' rows of one
    image the views take one.
    """

    def __init__(self, work: Work) -> None:
        """Load the model, and make sure that it is the one of the store."""
        wait_passively()
        self._request = work.request
        spec = parse_encoder(work.request.encoder, random_weights=work.request.random_weights)
        self._tower = load_image_tower(work.encoder, spec)
        if work.request.options.compile:
            self._tower.compile(work.request.options.batch_size)
        self._store = planned(locate(work.request.store, work.request.s3), work.encoder)
        self._run_id = new_run_id(work.run_id)
        self._parts = 0

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed and write a batch; return what became of it, one row."""
        items: list[Prepared] = [pickle.loads(one) for one in batch[PREPARED].to_pylist()]  # noqa: S301  # as above
        with_pixels = [item for item in items if item.pixels is not None]
        rows = [image_row(item, None) for item in items if item.pixels is None]
        waiting = iter(with_pixels)
        while some := list(islice(waiting, self._request.options.batch_size)):
            pixels = np.stack([item.pixels for item in some if item.pixels is not None])
            rows += [image_row(item, found) for item, found in zip(some, self._tower.encode(pixels), strict=True)]
        write_images(self._store, f"{self._run_id}-{self._parts:05d}", self._run_id, rows)
        self._parts += 1
        errors = [str(item.outcome.error_code) for item in items if item.outcome.status is Status.FAILED]
        return pa.table(
            {
                "embedded": [len(with_pixels)],
                "not_images": [len(rows) - len(with_pixels) - len(errors)],
                "errors": pa.array([errors], pa.list_(pa.string())),
                "bytes_read": [sum(batch["bytes_read"].to_pylist())],
                "actor": [f"{os.uname().nodename}:{os.getpid()}"],
            }
        )
