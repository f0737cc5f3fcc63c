"""What reading one object gives: its bytes, or the outcome that its row will carry."""

from dataclasses import dataclass

from store.records import ErrorCode, Outcome, failed

MAX_BYTES = 512 * 1024 * 1024
"""A larger object is no photo, and a few of them at once would fill a pod's memory."""


@dataclass(frozen=True)
class Fetched:
    """The whole content of one object, and the S3 version that was read."""

    data: bytes
    version_id: str | None = None


class ReadFailed(Exception):
    """One object could not be read; its row carries the outcome."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        """Keep the outcome."""
        super().__init__(detail)
        self.outcome: Outcome = failed(code, detail)


def refuse_large(size_bytes: int) -> None:
    """Raise ReadFailed for an object over MAX_BYTES, before any of it is read."""
    if size_bytes > MAX_BYTES:
        raise ReadFailed(ErrorCode.TOO_LARGE, f"{size_bytes:,} bytes, over the limit of {MAX_BYTES:,}")
