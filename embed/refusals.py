"""Sources that a job refuses once it has met them: what they show looks like work, and is somebody's mistake."""

from embed.progress import Tally
from embed.sources import Source
from store.errors import SourceError
from store.records import ErrorCode

REFUSED_AT_FIRST = 32
"""When so many objects are forbidden before a single one could be read, the permission is missing for all of them."""


def refuse_empty(source: Source, listed: int) -> None:
    """Raise SourceError where a source lists nothing at all."""
    if listed == 0:
        raise SourceError(
            f"{source.uri} holds no objects.",
            "A mistyped prefix looks just like this, so nothing was recorded.",
            "Check the path; the last part of an S3 prefix is taken as a folder.",
        )


def refuse_forbidden(source: Source, tally: Tally) -> None:
    """Raise where nothing at all may be read: recording a whole bucket as forbidden would help nobody."""
    forbidden = tally.errors[ErrorCode.FORBIDDEN]
    if forbidden == tally.finished and forbidden >= REFUSED_AT_FIRST:
        raise SourceError(
            f"The first {forbidden} objects of {source.uri} are all forbidden.",
            "Listing is allowed and reading is not.",
            "Allow reading (s3:GetObject on the prefix), then run the same command with --retry-failed.",
        )
