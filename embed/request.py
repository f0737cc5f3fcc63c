"""What a user asks of pass 1 and what comes back; importing this loads nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from embed.on_device.record import OnDevice
from embed.progress import Tally
from embed.sources import EVERYTHING, Selection
from store.encoder import Encoder
from store.s3 import S3Options
from store.shards import WHOLE, Shard

MEMORY_BYTES = 4 * 10**9
"""For images in flight of one process: a picture of 150 megapixels is let in."""


@dataclass(frozen=True)
class JobOptions:
    """How a job works; nothing here changes what an image's row says, but for the last bit of an embedding.

    (Matrix products round a little differently for batches of another size, and where they are compiled.) What takes
    more memory or time to decode than is allowed here is a failed image, and `--retry-failed` may allow more.
    """

    batch_size: int = 64
    compile: bool = False  # the image tower, by torch.compile, for batches of this size
    part_rows: int = 50_000
    part_age_s: float = 60.0
    thumbnails: bool = True
    retry_failed: bool = False
    memory_bytes: int | None = None  # for images in flight, of all processes; None: MEMORY_BYTES for each
    decoders: int | None = None  # processes that decode; None: as many as cores, 0: threads of the job instead
    decode_timeout_s: float = 120.0  # for one image
    shard: Shard = WHOLE  # of the images, by their ids
    patience_s: float = 600.0  # how long an outage of source or store is waited for

    @property
    def room_bytes(self) -> int:
        """For images in flight of this process: a quarter for bytes read, the rest for pixels of large pictures."""
        return MEMORY_BYTES if self.memory_bytes is None else self.memory_bytes


@dataclass(frozen=True)
class EmbedRequest:
    """What a user asks for."""

    source: str  # a folder, s3://bucket/prefix/, tars (….tar), or a list of URIs (.parquet, .csv)
    store: str  # a folder or s3://bucket/prefix
    encoder: str  # MODEL/PRETRAINED, MODEL/path/to/checkpoint.pt, local-dir:/path, hf-hub:org/name
    random_weights: bool = False
    device: str = "auto"
    precision: str = "auto"
    second_encoder: bool = False  # allow another encoder beside those that the store holds
    decode: str = "auto"  # as the store has it, else full; draft and gpu make other pixels: another encoder each
    decode_on: Literal["cuda", "cpu"] = "cuda"  # where decode="gpu" does so; cpu: the same code, another encoder
    metrics: str | None = None  # a file that holds the job's numbers for Prometheus
    selection: Selection = EVERYTHING
    uri_column: str | None = None  # of a list, where its name does not say that it is one
    inventory: str | None = None  # the manifest.json of an S3 Inventory that lists the source
    engine: str = "local"  # or ray: Ray Data, on the cluster of RAY_ADDRESS or on this machine
    processes: int | None = None  # on this machine; None: by GPUs and cores, see `embed/processes/count.py`
    options: JobOptions = field(default_factory=JobOptions)
    s3: S3Options = field(default_factory=S3Options)


@dataclass(frozen=True)
class Started:
    """A job that is about to run, for whoever shows it."""

    encoder: Encoder
    device: str
    tally: Tally


OnStart = Callable[[Started], Callable[[], None]]
"""Told what is about to run; returns what is to be called a few times a second."""


def start_silently(_started: Started) -> Callable[[], None]:
    """Show nothing."""
    return lambda: None


@dataclass(frozen=True)
class Summary:
    """What a job did."""

    run_id: str
    encoder_id: str
    source: str
    listed: int
    already_done: int
    embedded: int
    not_images: int
    errors: dict[str, int]  # by error code
    bytes_read: int
    seconds: float
    stage_seconds: dict[str, float]  # summed over threads
    stage_busy: dict[str, float]  # 0 to 1: for which share of the time the stage's places were busy
    limited_by: str  # the stage that was busiest; empty where none was busy
    stopped: bool  # asked to stop before the end
    on_device: OnDevice | None = None  # of JPEGs that the device has decoded
    processes: int = 1  # that have shared the work on this machine

    @classmethod
    def of(cls, tally: Tally, *, run_id: str, encoder_id: str, source: str, stopped: bool) -> "Summary":
        """Return what a tally says at the end."""
        return cls(
            run_id=run_id,
            encoder_id=encoder_id,
            source=source,
            listed=tally.listed,
            already_done=tally.already_done,
            embedded=tally.embedded,
            not_images=tally.not_images,
            errors=dict(tally.errors),
            bytes_read=tally.bytes_read,
            seconds=tally.seconds,
            stage_seconds=dict(tally.stage_seconds),
            stage_busy=tally.busy,
            limited_by=tally.limit,
            stopped=stopped,
            on_device=tally.on_device,
        )

    @property
    def pending(self) -> int:
        """Objects listed and still without an outcome."""
        return self.listed - self.already_done - self.embedded - self.not_images - sum(self.errors.values())
