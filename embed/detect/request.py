"""What a user asks of a second look and what comes back; importing this loads nothing heavy."""

from dataclasses import dataclass, field

from store.s3.options import S3Options

KINDS = ("owlv2", "owlvit", "rekognition")

PRICE_USD = 0.001
"""Of Rekognition, for one image and call of the first million in a month in us-east-1."""
PRICE_SOURCE = "https://aws.amazon.com/rekognition/pricing/, read 2026-10-07"


@dataclass(frozen=True)
class DetectorOptions:
    """Which detector, and how it works."""

    kind: str  # one of KINDS
    what: tuple[str, ...] = ()  # what to look for; () as the concept's name suggests
    weights: str | None = None  # of a local detector: hub id or folder, None the published ones
    device: str = "auto"
    batch_size: int = 4
    price_usd: float | None = None  # of Rekognition, for an image and call; None the published one
    rekognition_endpoint_url: str | None = None
    rekognition_region: str | None = None
    part_images: int = 1000
    part_age_s: float = 60.0
    retry_failed: bool = False


@dataclass(frozen=True)
class ConfirmRequest:
    """A band of one concept's scores, and who is to look at it."""

    store: str  # a folder or s3://bucket/prefix
    concept: str
    low: float  # both ends belong to the band
    high: float
    detector: DetectorOptions
    limit: int | None = None  # at most so many images, those nearest to the middle of the band first
    encoder: str | None = None  # where the store holds several
    s3: S3Options = field(default_factory=S3Options)


@dataclass(frozen=True)
class Findings:
    """What a second look did."""

    run_id: str
    detector_id: str
    columns: tuple[str, ...]  # of the view `candidates`
    looked_at: int  # images with an answer from this run
    errors: dict[str, int]  # by error code
    seconds: float
    stopped: bool  # asked to stop before the end
