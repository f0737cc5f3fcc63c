"""Runs as `export` writes them, made of rows: for tests of what is done with a run."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ["uri", "bucket", "key", "version_id", "etag", "size_bytes", "last_modified", "sha256"]
DECIDED = [*COLUMNS, "people", "rule", "group_name", "quarantine"]
FAILED = ["uri", "bucket", "key", "version_id", "etag", "size_bytes", "last_modified", "status", "error_code"]

Row = Mapping[str, Any]


def write_run(
    folder: Path,
    sources: Sequence[str],
    *,
    kept: Iterable[Row] = (),
    removed: Iterable[Row] = (),
    quarantined: Iterable[Row] = (),
    errors: Iterable[Row] = (),
    run_id: str = "20260101T120000Z-abcdef",
) -> Path:
    """Write a run's folder with these manifests; what a row does not name is empty."""
    folder.mkdir(parents=True)
    for name, rows in (("kept", kept), ("removed", removed), ("quarantined", quarantined), ("errors", errors)):
        sorted_rows = sorted(rows, key=lambda row: str(row["uri"]))
        more = ["revision"] if any("revision" in row for row in sorted_rows) else []
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*(FAILED if name == "errors" else DECIDED), *more], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(sorted_rows)
    metadata = {
        "run_id": run_id,
        "store": "/somewhere/store/encoder=tiny",
        "sources": list(sources),
        "policy": {"name": "strict"},
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
    }
    (folder / "run_metadata.json").write_text(json.dumps(metadata))
    return folder


def row_of(bucket: str, key: str, data: bytes, **more: Any) -> dict[str, Any]:
    """The row of an object that holds these bytes, uploaded in one piece."""
    return {
        "uri": f"s3://{bucket}/{key}",
        "bucket": bucket,
        "key": key,
        "etag": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "size_bytes": len(data),
        "last_modified": "2026-01-01 12:00:00+00",
        "sha256": hashlib.sha256(data).hexdigest(),
        **more,
    }
