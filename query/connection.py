"""DuckDB, opened in one way: in memory, in UTC, reading the store's files and never the network."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from store.location import Location

_NO_EXTENSIONS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


@contextmanager
def connect(location: Location) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection that can read files at `location`; closed at the end of the block."""
    with duckdb.connect(config=dict(_NO_EXTENSIONS)) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        connection.execute("set python_enable_replacements = false")  # a table is a view here, never a variable of ours
        connection.execute("set arrow_lossless_conversion = true")  # ids stay ids on their way to Arrow
        location.attach(connection)
        yield connection
