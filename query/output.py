"""Tables for people and for machines: `--format table|csv|json|parquet`, on stdout or in a file."""

import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from store.errors import UsageError
from store.location import FolderLocation

FORMATS = ("table", "csv", "json", "parquet")
_LONGEST_LIST = 4
_GIGABYTE = 10**9


def print_table(table: pa.Table, kind: str) -> None:
    """Print an answer on stdout: whole for machines, fitted to the terminal for people."""
    if kind == "table":
        show(table.column_names, [list(row.values()) for row in table.to_pylist()])
        Console(stderr=True).print(counted(table.num_rows), style="dim")
    else:
        if kind == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is no text for a terminal.", do="Redirect it: --format parquet > answer.parquet.")
        _write(table, kind, sys.stdout.buffer)
    sys.stdout.flush()


def counted(rows: int) -> str:
    """Return `1 row` or `1,234 rows`."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def save_table(table: pa.Table, place: str) -> None:
    """Write an answer to a local file, in the format that its name ends in; an older file goes when it is whole."""
    path = Path(place).expanduser().absolute()
    file = BytesIO()
    _write(table, kind_of(place), file)
    FolderLocation(path.parent).write(path.name, file.getvalue())


def kind_of(place: str) -> str:
    """Return the format that a file's name ends in: csv, json or parquet."""
    kind = Path(place).suffix.lower().removeprefix(".")
    if kind not in FORMATS[1:]:
        raise UsageError(f"{place} does not say in which format.", do="Let its name end in .csv, .json or .parquet.")
    return kind


def _write(table: pa.Table, kind: str, file: BinaryIO) -> None:
    # What most answers do without is loaded only here: a process that answers in a second shall not wait for it.
    if kind == "json":
        file.write((json.dumps(table.to_pylist(), indent=2, default=_plain) + "\n").encode())
    elif kind == "csv":
        import pyarrow.csv  # noqa: PLC0415  # as said

        pyarrow.csv.write_csv(_flat(table), file)
    else:
        import pyarrow.parquet  # noqa: PLC0415  # as said

        pyarrow.parquet.write_table(table, pa.PythonFile(file, mode="w"))


def show(header: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> None:
    """Print rows as a table; numbers stand to the right, and nothing is cut where the output is no terminal."""
    console = Console()
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for k, name in enumerate(header):
        numeric = all(isinstance(row[k], int | float | None) for row in rows) and rows
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else Text(cell(value)) for value in row))
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def cell(value: object) -> str:
    """Return one value as a person reads it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        case bytes():
            return f"<{len(value):,} bytes>"
        case list() if len(value) > _LONGEST_LIST:
            return f"[{', '.join(cell(v) for v in value[:_LONGEST_LIST])}, … {len(value):,} in all]"
    return str(value)


def megabytes(size_bytes: int) -> str:
    """Return `12.3 MB` or `4.5 GB`."""
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= _GIGABYTE else f"{size_bytes / 1e6:,.1f} MB"


def _flat(table: pa.Table) -> pa.Table:
    """Return the table with what CSV cannot hold as text: lists and structs as JSON, ids and bytes as hex."""
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or isinstance(kind, pa.BaseExtensionType):
            values = [_text(value) for value in column.to_pylist()]
            columns.append(pa.array(values, pa.string()))
        else:
            columns.append(column)
    return pa.table(columns, names=table.column_names)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=_plain) if isinstance(value, list | dict) else str(_plain(value))


def _plain(value: object) -> str | float:
    """Return what JSON has no form for as a number where it is one, else as text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.hex() if isinstance(value, bytes) else str(value)
