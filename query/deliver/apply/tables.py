"""The tables that an application works with: a DuckDB database in a temporary folder, so that memory stays flat."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from query.connection import connect
from query.deliver.apply.journal import Journal, empty_table
from sql import load
from store.errors import ClipsieveError, LocationError
from store.location import Location
from store.s3.bucket import Found

_PRESENT = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("last_modified", pa.timestamp("us", "UTC")),
        pa.field("version_id", pa.string()),
    ]
)
_ROWS_AT_ONCE = 20_000
_MEMORY = "300MB"


@dataclass(frozen=True)
class Tables:
    """A connection, and the local folder that the run's manifests are copied to."""

    connection: duckdb.DuckDBPyConnection
    folder: Path

    def make(self, name: str, **parameters: Any) -> None:
        """Run a query of sql/apply that creates a table."""
        self.connection.execute(load(f"apply/{name}"), parameters or None)

    def query(self, name: str, **parameters: Any) -> duckdb.DuckDBPyRelation:
        """Return a query of sql/apply."""
        return self.connection.sql(load(f"apply/{name}"), params=parameters)

    def rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the answer of a query of sql/apply."""
        rows: list[dict[str, Any]] = self.query(name, **parameters).to_arrow_table().to_pylist()
        return rows

    def list_present(self, pages: Iterable[list[Found]]) -> None:
        """Fill the table `present` with what lies at the destination."""
        self._fill("present", pages)

    def settle(self, found: list[Found]) -> None:
        """Fill the table `settled` with what is ours by its bytes."""
        self._fill("settled", [found])

    def _fill(self, table: str, pages: Iterable[list[Found]]) -> None:
        empty_table(self.connection, table, _PRESENT)
        waiting: list[Found] = []
        for page in pages:
            waiting += page
            if len(waiting) >= _ROWS_AT_ONCE:
                self._insert(table, waiting)
                waiting.clear()
        self._insert(table, waiting)

    def read_journal(self, journal: Journal) -> None:
        """Fill `journal`, `latest`, `spans` and `ours`; `present` is there already."""
        journal.view(self.connection)
        for name in ("latest", "spans", "ours"):
            self.make(name)

    def _insert(self, table: str, found: list[Found]) -> None:
        if found:
            columns = [pa.array([getattr(one, f.name) for one in found], f.type) for f in _PRESENT]
            self.connection.from_arrow(pa.table(columns, schema=_PRESENT)).insert_into(table)


@contextmanager
def open_tables(location: Location) -> Iterator[Tables]:
    """Open an empty database that can read the parts of a run's location too."""
    with tempfile.TemporaryDirectory(prefix="clipsieve-apply-") as name, connect(location) as connection:
        folder = Path(name)
        try:
            connection.execute(f"set memory_limit = '{_MEMORY}'")
            connection.execute("set temp_directory = $folder", {"folder": str(folder)})
            connection.execute(f"attach '{folder / 'tables.duckdb'}' as tables")
            connection.execute("use tables")
            yield Tables(connection, folder)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise _no_room(error) from error


def _no_room(error: duckdb.Error) -> ClipsieveError:
    return LocationError(
        f"The tables of this job cannot be written: {' '.join(str(error).split())[:200]}.",
        "Nothing was done that is not in the run's journal.",
        "Free some space where temporary files lie (TMPDIR), then run the same command again.",
    )
