"""One manifest in every form that it is written in: CSV, Parquet and, on request, JSON lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from query.deliver.behind import Behind

_BLOCK_BYTES = 1 << 24
ROW_GROUP_ROWS = 122_880
_FORMS = {"csv": "(format csv, header {first})", "jsonl": "(format json)"}
_REPEATS = {
    *("bucket", "version_id", "format", "rule", "reason", "attribute", "operator", "threshold"),
    *("quarantine", "group_name", "status", "error_code", "error_detail", "presigned_until"),
}
"""The columns in which the same values come again and again."""
_RANDOM = {"etag", "sha256"}
_NEVER_SOUGHT = {*_RANDOM, "s3_uri", "https_url", "presigned_url"}
"""By a range of values: what lies where in the file need not be known of these."""


class Manifest:
    """The files of one manifest, to which the rows of one range after another are added."""

    def __init__(self, folder: Path, name: str, *, jsonl: bool = False, parquet: Behind | None = None) -> None:
        """Name the files; the first rows that are added, be they none, make them. `parquet` writes Parquet, if any."""
        self._folder, self._name = folder, name
        self._texts = ("csv", "jsonl") if jsonl else ("csv",)
        self._behind = parquet
        self._parquet: pq.ParquetWriter | None = None
        self._is_first = True

    def add(self, connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any]) -> int:
        """Add the rows of a query, in their order; return how many these are."""
        rows = 0
        for form in self._texts:
            rows = self._add_text(connection, form, query, given)
        if self._behind:
            self._add_parquet(connection.sql(query, params=dict(given) or None), self._behind)
        self._is_first = False
        return rows

    def _add_text(self, connection: duckdb.DuckDBPyConnection, form: str, query: str, given: Mapping[str, Any]) -> int:
        path = self._folder / f"{self._name}.{form}"
        into = path if self._is_first else path.with_suffix(".part")
        copy = f"copy ({query}) to $file {_FORMS[form].format(first=str(self._is_first).lower())}"
        ((rows,),) = connection.execute(copy, {**given, "file": str(into)}).fetchall()
        if into != path:
            _append(into, path)
        return int(rows)

    def close(self) -> None:
        """Close what is open, when everything is written."""
        if self._parquet is not None:
            self._parquet.close()

    def _add_parquet(self, rows: duckdb.DuckDBPyRelation, behind: Behind) -> None:
        """Let Parquet be encoded, by one core, while the next rows are gathered."""
        with rows.to_arrow_reader(ROW_GROUP_ROWS) as reader:
            if self._parquet is None:
                self._parquet = _parquet_writer(self._folder / f"{self._name}.parquet", reader.schema)
            for batch in reader:
                behind.do(self._parquet.write_batch, batch, ROW_GROUP_ROWS)


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        schema,
        use_dictionary=[name for name in schema.names if name in _REPEATS],
        write_statistics=[name for name in schema.names if name not in _NEVER_SOUGHT],
        compression={name: "NONE" if name in _RANDOM else "SNAPPY" for name in schema.names},
    )


def _append(part: Path, path: Path) -> None:
    with part.open("rb") as source, path.open("ab") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
    part.unlink()
