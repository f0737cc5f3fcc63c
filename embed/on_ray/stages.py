"""The two stages that Ray runs in actors: objects to pixels, and pixels to rows in the store.

Between them rows travel as they are in a local job, pickled: Ray moves bytes, and nothing else need know them.
"""

import os
import pickle  # between our own processes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import pyarrow as pa

from embed.batches import Batches, image_row
from embed.decoders import Memory, Processes, Settings
from embed.encoders import ImageTower, load_towers, parse_encoder
from embed.encoders.torchvision_shim import wait_passively
from embed.patience import Reads, patiently
from embed.prepare import Prepared, Preparer
from embed.progress import Tally
from embed.request import EmbedRequest
from embed.silence import native_output_silenced
from embed.sources import open_source
from store.encoder import Encoder
from store.errors import WrongEncoder
from store.layout import locate, new_run_id, planned
from store.parts import write_images
from store.records import Status
from store.schema import ImageRow

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
        self._decoding = Processes(1, work.settings, Memory(request.options.room_bytes))
        self._prepare = Preparer(self._reads, self._decoding, self._tally)
        self._pool = ThreadPoolExecutor(source.readers, thread_name_prefix="reader")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the objects with their pixels, or with the reason why there are none."""
        wanted = [pickle.loads(one) for one in batch[OBJECT].to_pylist()]  # noqa: S301  # as above
        with native_output_silenced():
            prepared = list(self._pool.map(self._prepare, wanted))
        found = [pickle.dumps(one, pickle.HIGHEST_PROTOCOL) for one in prepared]
        sizes = [one.source_object.size_bytes if one.sha256 else 0 for one in prepared]
        return pa.table({PREPARED: pa.array(found, pa.large_binary()), "bytes_read": pa.array(sizes, pa.int64())})

    def close(self) -> None:
        """End its threads and its decoder, which otherwise go with the actor's process."""
        self._pool.shutdown()
        self._decoding.close()


class Encode:
    """Holds the model, loaded once, and writes parts of its own under a run of its own.

    A run of its own, because an actor that dies may have written what it is asked for again: of two runs' rows of one
    image the views take one.
    """

    def __init__(self, work: Work) -> None:
        """Load the model onto the device that Ray gives, and make sure that it is the one of the store."""
        wait_passively()
        self._options = work.request.options
        self._tower = _image_tower(work)
        if self._options.compile:
            self._tower.compile(self._options.batch_size)
        self._store = planned(locate(work.request.store, work.request.s3), work.encoder)
        self._run_id = new_run_id(work.run_id)
        self._parts = 0

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed and write a batch of Ray's, in batches of the device's; return what became of it, one row."""
        tally, rows = Tally(), list[ImageRow]()
        batches = Batches(self._tower, self._options.batch_size, rows.append, tally)
        for one in batch[PREPARED]:  # unpickled while the device works
            item: Prepared = pickle.loads(one.as_py())  # noqa: S301  # as above
            if item.outcome.status is Status.EMBEDDED:
                batches.take(item)
                continue
            rows.append(image_row(item, None))
            if item.outcome.status is Status.FAILED:
                tally.errors[str(item.outcome.error_code)] += 1
        batches.finish()
        name = f"{self._run_id}-{self._parts:05d}"
        patiently(lambda: write_images(self._store, name, self._run_id, rows), self._options.patience_s, Event())
        self._parts += 1
        return pa.table(
            {
                "embedded": [tally.embedded],
                "not_images": [len(rows) - tally.finished],
                "errors": pa.array([list(tally.errors.elements())], pa.list_(pa.string())),
                "bytes_read": [sum(batch["bytes_read"].to_pylist())],
                "actor": [f"{os.uname().nodename}:{os.getpid()}"],
            }
        )


def _image_tower(work: Work) -> ImageTower:
    """Return the image tower in the store's precision; raise WrongEncoder where what is found here is another one."""
    request, encoder = work.request, work.encoder
    spec = parse_encoder(request.encoder, random_weights=request.random_weights)
    device = "cuda" if request.device.startswith("cuda") else request.device  # which one, Ray says
    towers = load_towers(spec, device=device, precision=encoder.precision, decode_mode=encoder.decode_mode)
    if towers.encoder.fingerprint != encoder.fingerprint:
        raise WrongEncoder(
            f"{os.uname().nodename} has another encoder than the store: "
            f"{'; '.join(encoder.differences(towers.encoder))}.",
            "Its vectors would be mixed with the store's.",
            "Install the same versions, and put the same weights, on every node.",
        )
    return towers.image
