"""`clipsieve` as a user types it, run in this process, and what a program reads of its answer."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner, Result

import clipsieve


def typed(*words: str, stdin: str | None = None) -> Result:
    """Run `clipsieve` with these words; an exception that the command does not turn into a line is raised."""
    result = CliRunner().invoke(clipsieve.main, words, input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def parsed(result: Result, kind: str) -> list[dict[str, Any]]:
    """The rows that a program reads from stdout."""
    assert result.exit_code == 0, result.stderr
    if kind == "json":
        rows: list[dict[str, Any]] = json.loads(result.stdout)
        return rows
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(result.stdout), strict=True))
    return list(pq.read_table(io.BytesIO(result.stdout_bytes)).to_pylist())


def one_line(result: Result) -> str:
    """The only line of stderr."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line
