"""An S3 Inventory as AWS lays it out, on a test server."""

import gzip
import io
import json
from collections.abc import Sequence
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers import S3Server

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag"
_PARQUET_SCHEMA = "message s3.inventory { required binary key; optional int64 size; e_tag; last_modified_date }"
_SIZE_BYTES = 7


def put_inventory(
    s3: S3Server,
    bucket: str,
    kind: str,
    rows: Sequence[tuple[str, str, str]],
    *,
    into: str = "",
    manifest: str = "inv/2026/manifest.json",
    **other: object,
) -> str:
    """Write an inventory of a bucket's (key, etag, is latest), into another one where it is named; return its manifest.

    Every object is said to be of 7 bytes.
    """
    client, into = s3.client(), into or bucket
    data = _csv(bucket, rows) if kind == "CSV" else _parquet(bucket, rows)
    client.put_object(Bucket=into, Key="inv/data/1", Body=data)
    record = {
        "sourceBucket": bucket,
        "destinationBucket": f"arn:aws:s3:::{into}",
        "fileFormat": kind,
        "fileSchema": SCHEMA if kind == "CSV" else _PARQUET_SCHEMA,
        "files": [{"key": "inv/data/1", "size": len(data)}],
        **other,
    }
    client.put_object(Bucket=into, Key=manifest, Body=json.dumps(record).encode())
    return f"s3://{into}/{manifest}"


def _csv(bucket: str, rows: Sequence[tuple[str, str, str]]) -> bytes:
    lines = (
        f'"{bucket}","{quote_plus(key, safe="/")}","v","{latest}","false","{_SIZE_BYTES}",'
        f'"2026-01-01T12:00:00.000Z","{etag}"\n'
        for key, etag, latest in rows
    )
    return gzip.compress("".join(lines).encode())


def _parquet(bucket: str, rows: Sequence[tuple[str, str, str]]) -> bytes:
    columns = {
        "bucket": [bucket] * len(rows),
        "key": [row[0] for row in rows],
        "size": [_SIZE_BYTES] * len(rows),
        "last_modified_date": pa.array([1_767_268_800_000] * len(rows), pa.timestamp("ms")),
        "e_tag": [row[1] for row in rows],
        "is_latest": [latest == "true" for _, _, latest in rows],
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()
