"""Rows of metadata beside vectors: Parquet, CSV, TSV, JSON (a list of objects) or JSON lines, read block by block.

Text stays text: a CSV's `000123` is a name and no number.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from embed.vectors.reading.arrays import unreadable
from store.errors import ImportRefused, UsageError

SUFFIXES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_CSV_BLOCK_BYTES = 1 << 24
"""Longer than any row: a caption may hold a whole page."""
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class MetadataFile(Protocol):
    """Rows of metadata: their number, their columns, and the rows themselves in their order."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column's name."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Read these columns in tables of at most so many rows."""


def open_metadata(path: Path) -> MetadataFile:
    """Read what a file of metadata says of itself; raise ImportRefused where it cannot be read."""
    try:
        if path.suffix == ".parquet":
            return _Parquet.open(path)
        if path.suffix in {".csv", ".tsv"}:
            return _Csv.open(path)
        if path.suffix in SUFFIXES:
            return _Json.open(path)
    except _UNREADABLE as error:
        raise unreadable(path, error) from error
    raise UsageError(f"{path.name} is no file of metadata.", do=f"Known are: {', '.join(SUFFIXES)}.")


@dataclass(frozen=True)
class _Parquet:
    path: Path
    columns: tuple[str, ...]
    rows: int

    @classmethod
    def open(cls, path: Path) -> "_Parquet":
        with pq.ParquetFile(path) as file:
            return cls(path, tuple(file.schema_arrow.names), file.metadata.num_rows)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(rows, columns=list(columns)):
                    yield pa.Table.from_batches([batch]).select(list(columns))
        except _UNREADABLE as error:
            raise unreadable(self.path, error) from error


@dataclass(frozen=True)
class _Csv:
    path: Path
    columns: tuple[str, ...]
    rows: int

    @classmethod
    def open(cls, path: Path) -> "_Csv":
        with _csv(path, None) as reader:
            columns = tuple(reader.schema.names)
        with _csv(path, columns[:1]) as reader:
            return cls(path, columns, sum(batch.num_rows for batch in reader))

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        try:
            with _csv(self.path, columns) as reader:
                for batch in reader:
                    table = pa.Table.from_batches([batch])
                    yield from (table.slice(start, rows) for start in range(0, table.num_rows, rows))
        except _UNREADABLE as error:
            raise unreadable(self.path, error) from error


def _csv(path: Path, columns: Sequence[str] | None) -> pyarrow.csv.CSVStreamingReader:
    """Open a CSV file for these columns, all of them text; for all columns where none are named."""
    return pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns, column_types={name: pa.string() for name in columns or ()}
        ),
    )


@dataclass(frozen=True)
class _Json:
    """JSON is read whole: for millions of rows, Parquet is the better form."""

    path: Path
    columns: tuple[str, ...]
    objects: Sequence[dict[str, Any]] = field(repr=False)

    @property
    def rows(self) -> int:
        return len(self.objects)

    @classmethod
    def open(cls, path: Path) -> "_Json":
        text = path.read_text(encoding="utf-8-sig")
        objects = json.loads(text) if path.suffix == ".json" else _lines(text)
        if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
            raise ImportRefused(
                f"{path.name} is no list of objects.", do='Write [{"url": "…"}, …], one object per row.'
            )
        return cls(path, tuple({key: None for one in objects for key in one}), objects)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        for start in range(0, self.rows, rows):
            some = self.objects[start : start + rows]
            values = {name: [_text(one.get(name)) for one in some] for name in columns}
            yield pa.table({name: pa.array(column, pa.string()) for name, column in values.items()})


def _lines(text: str) -> list[Any]:
    """Return the values of JSON lines; only a line feed ends one, since text may hold other separators."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _text(value: object) -> str | None:
    """Return a JSON value as text, as a CSV would hold it."""
    return value if value is None or isinstance(value, str) else json.dumps(value)
