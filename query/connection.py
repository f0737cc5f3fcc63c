"""DuckDB, opened in one way: in memory, in UTC, reading the store's files and never the network."""

import os
import secrets
import tempfile
from pathlib import Path

import duckdb

from store.errors import UsageError
from store.location import Location

_NO_EXTENSIONS = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
MEMORY_VARIABLE = "CLIPSIEVE_MEMORY"
DEFAULT_MEMORY = "1250MB"
"""What DuckDB may take before it writes to disk. A laptop has other things to do, and 10 million images fit: joins and
sorts of more than this go through the system's folder for temporary files, at about the same speed on an SSD."""


def connect(location: Location) -> duckdb.DuckDBPyConnection:
    """Open a connection that can read files at `location`; a `with` block closes it at its end."""
    connection = duckdb.connect(config=dict(_NO_EXTENSIONS))
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    connection.execute("set python_enable_replacements = false")  # a table is a view here, never a variable of ours
    connection.execute("set arrow_lossless_conversion = true")  # ids stay ids on their way to Arrow
    connection.execute("set parquet_metadata_cache = true")  # no file of a store ever changes under its name
    _limit_memory(connection)
    location.attach(connection)
    return connection


def _limit_memory(connection: duckdb.DuckDBPyConnection) -> None:
    """Bound the memory; what is beyond goes to a folder that is made when it is needed and removed on closing."""
    memory = os.environ.get(MEMORY_VARIABLE) or DEFAULT_MEMORY
    try:
        connection.execute("set memory_limit = $memory", {"memory": memory})
    except duckdb.Error as error:
        raise UsageError(
            f"The environment variable {MEMORY_VARIABLE} is {memory!r}, which is no amount of memory.",
            do=f"Write for example {MEMORY_VARIABLE}=8GB, or unset it for {DEFAULT_MEMORY}.",
        ) from error
    folder = Path(tempfile.gettempdir(), f"clipsieve-{secrets.token_hex(8)}")
    connection.execute("set temp_directory = $folder", {"folder": str(folder)})
