"""What a user asks of pass 1 and what comes back; importing this loads nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass, field

from embed.progress import Tally
from store.encoder import Encoder
from store.s3 import S3Options


@dataclass(frozen=True)
class JobOptions:
    """How a job works; nothing here changes what an image's row says, but for the last bit of an embedding.

    (Matrix products round a little differently for batches of another size.)
    """

    batch_size: int = 64
    part_rows: int = 50_000
    part_age_s: float = 60.0
    thumbnails: bool = True
    retry_failed: bool = False


@dataclass(frozen=True)
class EmbedRequest:
    """What a user asks for."""

    source: str  # a folder or s3://bucket/prefix/
    store: str  # a folder or s3://bucket/prefix
    encoder: str  # MODEL/PRETRAINED, MODEL/path/to/checkpoint.pt, local-dir:/path, hf-hub:org/name
    random_weights: bool = False
    device: str = "auto"
    precision: str = "auto"
    second_encoder: bool = False  # allow the same weights under another identity beside the first
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
    stopped: bool  # asked to stop before the end

    @property
    def pending(self) -> int:
        """Objects listed and still without an outcome."""
        return self.listed - self.already_done - self.embedded - self.not_images - sum(self.errors.values())
