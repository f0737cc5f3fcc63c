"""The records that travel between the rooms, and the closed lists of what can become of an image."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property


class Status(StrEnum):
    """What became of one object of a source. Every listed object ends in exactly one of these."""

    EMBEDDED = "embedded"
    FAILED = "failed"
    NOT_AN_IMAGE = "not_an_image"


class ErrorCode(StrEnum):
    """Why an image failed. A closed list: manifests, dashboards and `--retry-failed` rely on it."""

    EMPTY = "empty"  # zero bytes
    TRUNCATED = "truncated"  # the file ends before the picture does
    CORRUPT = "corrupt"  # an image by its first bytes, but its content breaks the format's rules
    UNSUPPORTED = "unsupported"  # a known image format, or a variant of one, that no decoder here reads
    DECOMPRESSION_BOMB = "decompression_bomb"  # more pixels than MAX_PIXELS
    TOO_LARGE = "too_large"  # more bytes than MAX_BYTES
    NOT_FOUND = "not_found"  # gone between listing and reading
    CHANGED = "changed"  # replaced between listing and reading
    FORBIDDEN = "forbidden"  # access to this one object is denied
    ARCHIVED = "archived"  # in a storage class that must be restored before it can be read
    READ_FAILED = "read_failed"  # the read broke off, and retries did not help
    DECODER_CRASHED = "decoder_crashed"  # decoding it ends the decoder's process
    DECODE_TIMEOUT = "decode_timeout"  # decoding it takes longer than the limit


@dataclass(frozen=True)
class SourceObject:
    """One object of a source as its listing shows it.

    uri:            `s3://bucket/key` with the key as it is, or a percent-encoded `file:///…`
    key:            the S3 key, or the path below the source folder
    revision:       what tells one content of a URI from another: the etag, or `size-mtime_ns` of a file
    last_modified:  UTC
    """

    source: str
    uri: str
    bucket: str | None
    key: str
    etag: str | None
    revision: str
    size_bytes: int
    last_modified: datetime | None

    @cached_property
    def image_id(self) -> uuid.UUID:
        """The first 128 bits of the sha256 of URI, newline and revision: the same image has the same id in every store.

        In SQL: `sha256(uri || chr(10) || revision)[1:32]::uuid`.
        """
        digest = hashlib.sha256(f"{self.uri}\n{self.revision}".encode()).digest()
        return uuid.UUID(bytes=digest[:16])


@dataclass(frozen=True)
class ImageFacts:
    """What decoding learns of an image. `width_px` and `height_px` are as displayed, after EXIF orientation."""

    width_px: int
    height_px: int
    format: str  # Pillow's name: JPEG, PNG, WEBP, …
    mode: str  # Pillow's mode as stored in the file: RGB, L, P, CMYK, I;16, …
    exif_orientation: int | None  # 1 to 8, None where the file has none


@dataclass(frozen=True)
class Outcome:
    """What became of one object: status, and the reason where it is not `embedded`."""

    status: Status
    error_code: ErrorCode | None = None
    error_detail: str | None = None


EMBEDDED = Outcome(Status.EMBEDDED)
NOT_AN_IMAGE = Outcome(Status.NOT_AN_IMAGE)


def failed(code: ErrorCode, detail: str) -> Outcome:
    """Return the outcome of an image that could not be embedded; `detail` is one line for a person."""
    return Outcome(Status.FAILED, code, " ".join(detail.split())[:300])
