"""What a user asks of an import and what comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from store.s3 import S3Options


@dataclass(frozen=True)
class ImportRequest:
    """Vectors of images that were made elsewhere, and where they shall go."""

    path: str  # a folder, or a file of vectors
    store: str  # a folder or s3://bucket/prefix; made if it is missing
    encoder: str  # MODEL/PRETRAINED as open_clip names them, or hf-hub:org/name
    source: str | None = None  # what the source is called; None: the path
    metadata: str | None = None  # the file of metadata; None: the one that belongs to the vectors by its name
    uri_column: str | None = None  # None: the first of uri, url, image_path, path, key, id, uid
    uri_prefix: str = ""  # stands before every name
    array: str | None = None  # of an .npz; None: the one of the model
    dim: int | None = None  # D of a raw .bin; None: the model's
    normalize: bool = False
    keep_first: bool = False  # of rows with one URI and different vectors
    captions: bool | None = None  # cache the vectors of captions as prompts; None: where there are few
    logit_scale: float | None = None
    join: bool = False
    second_encoder: bool = False
    part_rows: int = 50_000
    s3: S3Options = field(default_factory=S3Options)


@dataclass(frozen=True)
class ImportSummary:
    """What an import found and did."""

    encoder_id: str
    caution: str | None
    source: str
    form: str
    vectors: int  # rows in the files
    dim: int
    dtype: str
    uri_column: str
    facts: Mapping[str, str]  # the store's column -> the metadata's
    left_out: tuple[str, ...]  # columns of the metadata that the store has no place for
    misread: Mapping[str, int]  # column -> values that are not what it is for, stored as null
    repeated: int  # rows that name an image again, of which the first counts
    already_done: int  # images that the store had
    imported: int
    dropped: int  # URIs of the source's last listing that are not among these
    captions: int  # vectors of captions in the files
    captions_cached: int  # texts that became prompts


OnRows = Callable[[str, int, int], None]
"""Told a stage, and how many of how many rows it has seen."""


def quietly(_stage: str, _done: int, _all: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class PromptsRequest:
    """Vectors of texts that were made elsewhere."""

    store: str
    vectors: str  # a .npy of (N, D)
    texts: str  # a text a line, a JSON list, or a column of a CSV or Parquet file
    encoder: str | None = None  # may be left out where the store holds one
    column: str | None = None
    normalize: bool = False
    s3: S3Options = field(default_factory=S3Options)


@dataclass(frozen=True)
class PromptsSummary:
    """What an import of prompts did."""

    encoder_id: str
    caution: str | None
    vectors: int
    cached: int  # texts that are new
    already_cached: int
    repeated: int  # rows whose text stood in an earlier row
