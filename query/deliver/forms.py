"""One manifest in every form that it is written in: CSV, Parquet unless it is left out, and, on request, JSON lines."""

import csv
import io
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from query.deliver.behind import Behind

_BLOCK_BYTES = 1 << 24
_AT_THE_END = 99
ROW_GROUP_ROWS = 122_880
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

    def __init__(self, folder: Path, name: str, behind: Behind, *, parquet: bool = False, jsonl: bool = False) -> None:
        """Name the files; the first rows that are added, be they none, make them. `behind` writes CSV and Parquet."""
        self._folder, self._name, self._behind = folder, name, behind
        self._forms: list[type[_Csv | _Parquet]] = [_Csv, _Parquet] if parquet else [_Csv]
        self._open: list[_Csv | _Parquet] = []
        self._jsonl = jsonl

    def add(self, connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any]) -> int:
        """Add the rows of a query, in their order; return how many these are.

        They are written, by one core, while the next ones are gathered.
        """
        rows = 0
        with connection.sql(query, params=dict(given) or None).to_arrow_reader(ROW_GROUP_ROWS) as reader:
            self._open = self._open or [form(self._folder / self._name, reader.schema) for form in self._forms]
            for batch in reader:
                rows += batch.num_rows
                for form in self._open:
                    self._behind.do(form.add, batch)
        if self._jsonl:
            self._add_json(connection, query, given)
        return rows

    def close(self) -> None:
        """Close what is open, when everything is written."""
        for form in self._open:
            form.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close what is open."""
        self.close()

    def _add_json(self, connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any]) -> None:
        path = self._folder / f"{self._name}.jsonl"
        part = path.with_suffix(".part")
        connection.execute(f"copy ({query}) to $file (format json)", {**given, "file": str(part)})
        _append(part, path)


class _Csv:
    """A CSV file. pyarrow writes it in less time than DuckDB's COPY, and from the rows that Parquet is written from."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.with_suffix(".csv").open("wb")
        self._file.write(_line(schema.names))
        schema = _times_as_text(pa.RecordBatch.from_pylist([], schema)).schema
        self._plain, self._quoted = (self._writer(schema, style) for style in ("none", "needed"))

    def _writer(self, schema: pa.Schema, style: str) -> pa.csv.CSVWriter:
        options = pa.csv.WriteOptions(include_header=False, quoting_style=style)
        return pa.csv.CSVWriter(self._file, schema, write_options=options)

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows; one that holds a text that needs quotes has them around each of its texts."""
        before = self._file.tell()
        batch = _times_as_text(batch)
        try:
            self._plain.write_batch(batch)
            if not _has_empty_text(batch):
                return
        except pa.ArrowInvalid:
            pass  # a text needs quotes
        self._file.seek(before)
        self._file.truncate()
        odd = _need_quotes(batch)
        ends = [0, *np.flatnonzero(np.diff(odd)) + 1, batch.num_rows]
        for first, end in pairwise(ends):
            (self._quoted if odd[first] else self._plain).write_batch(batch.slice(first, end - first))

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """A Parquet file of one row group per batch."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(
            path.with_suffix(".parquet"),
            schema,
            use_dictionary=[name for name in schema.names if name in _REPEATS],
            write_statistics=[name for name in schema.names if name not in _NEVER_SOUGHT],
            compression={name: "NONE" if name in _RANDOM else "SNAPPY" for name in schema.names},
        )

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch, ROW_GROUP_ROWS)

    def close(self) -> None:
        self._writer.close()


def _line(names: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def _times_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with its times in UTC as text, as pyarrow would write them itself, in a seventh of the time.

    It looks up the time zone for each value; without a zone there is nothing to look up.
    """
    for i, field in enumerate(batch.schema):
        if field.type == pa.timestamp("us", "UTC"):
            texts = batch.column(i).cast(pa.timestamp("us")).cast(pa.string())
            batch = batch.set_column(i, field.name, pc.binary_replace_slice(texts, _AT_THE_END, _AT_THE_END, "Z"))
    return batch


def _texts(batch: pa.RecordBatch) -> list[pa.Array]:
    return [column for column in batch.columns if pa.types.is_string(column.type)]


def _has_empty_text(batch: pa.RecordBatch) -> bool:
    """Tell whether some text is empty; without quotes it would be read as null."""
    return any(pc.min(pc.binary_length(column)).as_py() == 0 for column in _texts(batch))


def _need_quotes(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Return for each row whether one of its texts is empty or holds what CSV separates by."""
    found = np.zeros(batch.num_rows, bool)
    for column in _texts(batch):
        odd = pc.match_substring_regex(column, '^$|[",\\r\\n]')
        found |= pc.fill_null(odd, fill_value=False).to_numpy(zero_copy_only=False)
    return found


def _append(part: Path, path: Path) -> None:
    with part.open("rb") as source, path.open("ab") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
    part.unlink()
