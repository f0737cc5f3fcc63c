"""DuckDB, opened in one way: in memory, in UTC, reading the store's files and never the network."""

import duckdb

from store.location import Location

_NO_EXTENSIONS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


def connect(location: Location) -> duckdb.DuckDBPyConnection:
    """Open a connection that can read files at `location`; a `with` block closes it at its end."""
    connection = duckdb.connect(config=dict(_NO_EXTENSIONS))
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    connection.execute("set python_enable_replacements = false")  # a table is a view here, never a variable of ours
    connection.execute("set arrow_lossless_conversion = true")  # ids stay ids on their way to Arrow
    location.attach(connection)
    return connection
