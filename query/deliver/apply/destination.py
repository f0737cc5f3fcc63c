"""Where copies may go: to a prefix that is neither source nor store nor run, with one key for each image."""

from typing import Any

from query.deliver.apply.run import ExportedRun
from query.deliver.apply.tables import Tables
from store.errors import UsageError
from store.s3.options import split_uri

_LONGEST_KEY_BYTES = 1024


def normalised(to: str) -> str:
    """Return the destination as a prefix that ends in `/`, or a whole bucket; raise UsageError for another place."""
    if not to.startswith("s3://"):
        raise UsageError(
            f"{to!r} is no s3://BUCKET/PREFIX/.",
            "Copies are made on the server's side, from bucket to bucket.",
            "Images in a folder are moved aside with --in-place; or copy them to S3 and embed that.",
        )
    bucket, prefix = split_uri(to)
    return f"s3://{bucket}/{prefix.rstrip('/')}/" if prefix.strip("/") else f"s3://{bucket}/"


def check_place(run: ExportedRun, to: str) -> None:
    """Raise UsageError where the destination overlaps what the run was made from, or the run itself."""
    for what, uri, why in (
        *(
            ("the source", uri, "The next `clipsieve embed` would take the copies for new images.")
            for uri in run.sources
        ),
        ("the store", run.store_uri, "A store holds nothing but what clipsieve reads from it."),
        ("the run", run.location.uri, "A run is a record, and stays as it is."),
    ):
        if uri.startswith("s3://") and _overlap(to, uri):
            raise UsageError(f"The destination {to} overlaps {what} {uri}.", why, "Give --to another prefix.")


def check_keys(run: ExportedRun, tables: Tables, prefix: str) -> None:
    """Raise UsageError where the planned keys cannot all be made."""
    for row in tables.rows("unplaceable", prefix=prefix):
        raise _REFUSALS[row["problem"]](run, row)


def _overlap(one: str, other: str) -> bool:
    one, other = (f"{uri.rstrip('/')}/" for uri in (one, other))
    return one.startswith(other) or other.startswith(one)


def _collision(_run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(
        f"{row['found']:,} keys would be written by more than one image, for example {row['to_key']!r} by {row['uri']} "
        f"and {row['other_uri']}.",
        "One copy would replace the other.",
        "Give --whole-keys, which keeps bucket and whole key below the destination.",
    )


def _too_long(_run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(
        f"{row['found']:,} keys would be longer than the {_LONGEST_KEY_BYTES:,} bytes that S3 takes, for example that "
        f"of {row['uri']}.",
        do="Give --to a shorter prefix.",
    )


def _outside(run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(
        f"{row['found']:,} kept images lie outside the run's sources ({', '.join(run.sources)}), for example "
        f"{row['uri']}.",
        "Their keys below the destination are those below their source.",
        "Give --whole-keys, which keeps bucket and whole key.",
    )


def _empty(_run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(f"{row['uri']} has no key below its source.", do="Give --whole-keys.")


def _no_bucket(_run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(
        f"{row['found']:,} kept images are no objects of a bucket, for example {row['uri']}.",
        "Copies are made on the server's side, from bucket to bucket.",
        "Images in a folder are moved aside with --in-place; or copy them to S3 and embed that.",
    )


def _unknown(_run: ExportedRun, row: dict[str, Any]) -> UsageError:
    return UsageError(
        f"Of {row['found']:,} kept images no etag or no size is known, for example of {row['uri']}: their vectors were "
        "imported.",
        "Nobody could say whether an object still is the one that was judged, so nothing is copied.",
        "Import them with their etag and size_bytes, or `clipsieve embed` them.",
    )


_REFUSALS = {
    "unknown": _unknown,
    "collision": _collision,
    "too_long": _too_long,
    "outside": _outside,
    "empty": _empty,
    "no_bucket": _no_bucket,
}
