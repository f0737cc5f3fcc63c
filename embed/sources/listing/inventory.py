"""A listing from an S3 Inventory: what AWS has listed already, so that nobody asks again.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from io import BufferedReader
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from embed.sources.listing.files import Files
from embed.sources.s3 import S3Source
from store.errors import SourceError, UsageError
from store.records import SourceObject
from store.s3.options import split_uri

_ROWS = 16_384

# Our name -> that of Parquet, and of `fileSchema` in the manifest of CSV.
_FIELDS = {
    "key": ("key", "Key"),
    "size": ("size", "Size"),
    "etag": ("e_tag", "ETag"),
    "last_modified": ("last_modified_date", "LastModifiedDate"),
    "is_latest": ("is_latest", "IsLatest"),
    "is_delete_marker": ("is_delete_marker", "IsDeleteMarker"),
}
_NEEDED = ("key", "size", "etag", "last_modified")


class InventorySource:
    """An S3 prefix whose listing comes from an inventory; its objects are read as those of the prefix are."""

    covers = extra_columns = None

    def __init__(self, source: S3Source, manifest: str, at: Callable[[str], Files]) -> None:
        """Read the manifest; raise a ClipsieveError where it is none, or not one of this source's bucket."""
        self.uri, self.readers, self.fetch = source.uri, source.readers, source.fetch
        self._bucket, self._prefix = split_uri(self.uri)
        folder, _, name = manifest.rpartition("/")
        self._record = _read_manifest(at(folder or "."), name, manifest)
        if self._record["sourceBucket"] != self._bucket:
            raise UsageError(
                f"{manifest} is an inventory of s3://{self._record['sourceBucket']}/, and the source is {self.uri}.",
                do="Give the inventory of the source's bucket.",
            )
        is_copied = not manifest.startswith("s3://")
        destination = str(self._record["destinationBucket"]).rpartition(":")[2]
        self._files = at(folder or "." if is_copied else f"s3://{destination}")
        self._is_copied = is_copied

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield the objects of the prefix in the order of the inventory's files, as they were when it was made."""
        for file in self._record["files"]:
            for rows in self._rows(str(file["key"])):
                page = [one for row in rows if (one := self._object(row)) is not None]
                if page:
                    yield page

    def _rows(self, key: str) -> Iterator[list[dict[str, Any]]]:
        name = key.rpartition("/")[2] if self._is_copied else key
        try:
            with self._files.open(name) as file:
                batches = _parquet(file) if self._record["fileFormat"] == "Parquet" else _csv(file, self._record)
                for batch in batches:
                    yield batch.to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise SourceError(
                f"The inventory's file {self._files.uri}/{name} cannot be read ({' '.join(str(error).split())[:200]}).",
                "Without it a part of the source would be missing, and nobody would notice.",
                "Take another day's inventory, or leave --inventory out.",
            ) from error

    def _object(self, row: Mapping[str, Any]) -> SourceObject | None:
        """Return one row as an object; None for what lies elsewhere, or is an older version of something."""
        if not row["key"].startswith(self._prefix) or _is(row.get("is_delete_marker")) or row.get("is_latest") in _NO:
            return None
        etag = row["etag"].strip('"')
        return SourceObject(
            source=self.uri,
            uri=f"s3://{self._bucket}/{row['key']}",
            bucket=self._bucket,
            key=row["key"],
            etag=etag,
            revision=etag,
            size_bytes=int(row["size"]),
            last_modified=_time(row["last_modified"]),
        )


_NO = (False, "false")


def _is(value: object) -> bool:
    return value in (True, "true")


def _time(value: object) -> datetime:
    """Return a time of Parquet (without a zone, in UTC) or of CSV (ISO 8601)."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _read_manifest(folder: Files, name: str, manifest: str) -> dict[str, Any]:
    data = folder.read(name)
    if data is None:
        raise SourceError(f"The inventory {manifest} does not exist.", do="Give the path of its manifest.json.")
    try:
        record: dict[str, Any] = json.loads(data)
        kind, columns = record["fileFormat"], record["fileSchema"]
        record["sourceBucket"], record["destinationBucket"], record["files"]  # they must be there
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{manifest} is no manifest of an S3 Inventory.", do="Give its manifest.json.") from error
    if kind not in {"Parquet", "CSV"}:
        raise UsageError(f"{manifest} is an inventory in {kind}.", do="Let S3 write it as Parquet or CSV.")
    missing = [_FIELDS[name][kind == "CSV"] for name in _NEEDED if _FIELDS[name][kind == "CSV"] not in columns]
    if missing:
        raise UsageError(
            f"The inventory {manifest} does not say {', '.join(missing)}.",
            "An image is identified by its etag.",
            "Add size, last modified date and etag to the inventory's fields.",
        )
    return record


def _parquet(file: BufferedReader) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        there = {ours: theirs for ours, (theirs, _) in _FIELDS.items() if theirs in parquet.schema_arrow.names}
        for batch in parquet.iter_batches(_ROWS, columns=list(there.values())):
            yield batch.rename_columns([_ours(name, 0) for name in batch.schema.names])


def _csv(file: BufferedReader, record: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a gzipped CSV without a header, whose keys are percent-encoded."""
    names = [name.strip() for name in str(record["fileSchema"]).split(",")]
    wanted = [theirs for _, theirs in _FIELDS.values() if theirs in names]
    with pyarrow.csv.open_csv(
        pa.CompressedInputStream(pa.PythonFile(file, "r"), "gzip"),
        read_options=pyarrow.csv.ReadOptions(column_names=names),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=wanted, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    ) as reader:
        for batch in reader:
            batch = batch.rename_columns([_ours(name, 1) for name in batch.schema.names])  # noqa: PLW2901
            keys = pa.array([unquote_plus(key) for key in batch.column("key").to_pylist()], pa.string())
            yield batch.set_column(batch.schema.get_field_index("key"), "key", keys)


def _ours(theirs: str, place: int) -> str:
    return next(ours for ours, names in _FIELDS.items() if names[place] == theirs)
