"""What is said of a copy on the server's side: what is wanted, how, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

KEEP = "keep"
"""For the storage class and the encryption: as the source has it, which takes one HEAD for each object."""

LARGEST_COPY_BYTES = 5 * 2**30
"""In one request: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html."""


class Outcome(StrEnum):
    """What became of one copy."""

    COPIED = "copied"
    CHANGED = "changed"  # the source holds another object than the one that was judged
    VANISHED = "vanished"  # the source holds nothing any more
    FORBIDDEN = "forbidden"
    OCCUPIED = "occupied"  # the destination holds an object of somebody else, which stays
    FAILED = "failed"


@dataclass(frozen=True)
class CopyOptions:
    """How copies are made. What is None is left to S3: class STANDARD, and the bucket's own encryption."""

    storage_class: str | None = None  # or KEEP
    encryption: str | None = None  # AES256, aws:kms, aws:kms:dsse, or KEEP
    kms_key_id: str | None = None
    tags: bool = True
    parts_above_bytes: int = LARGEST_COPY_BYTES
    part_bytes: int = 512 * 2**20

    @property
    def asks_source(self) -> bool:
        """Whether every copy needs a look at its source first."""
        return KEEP in {self.storage_class, self.encryption}


@dataclass(frozen=True)
class Wanted:
    """A copy to be made: the object that was judged, and the key that held nothing at `since` (the service's time)."""

    bucket: str
    key: str
    etag: str
    size_bytes: int
    sha256: str | None
    to_key: str
    since: datetime

    @property
    def uri(self) -> str:
        """The object that is copied."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Result:
    """What became of a copy, and what identifies it where one was made."""

    outcome: Outcome
    etag: str | None = None
    version_id: str | None = None
    last_modified: datetime | None = None
    detail: str | None = None
