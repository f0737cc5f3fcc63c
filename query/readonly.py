"""SQL that somebody typed: one query that reads, or a refusal."""

import re

import duckdb
import pyarrow as pa

from store.errors import QueryRefused

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)


def run_readonly(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """Return the result of one query; raise QueryRefused for anything but a single SELECT (or an EXPLAIN of one).

    DuckDB's parser tells the kind of statement, so COPY, ATTACH, INSTALL and SET never run, whatever hides them.
    """
    refuse_writes(connection, query)
    try:
        return connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise _rejected(error) from error


def refuse_writes(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise QueryRefused for anything but one query that reads."""
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _rejected(error) from error
    if len(statements) != 1:
        raise QueryRefused(f"One query at a time: this is {len(statements)}.")
    if statements[0].type == duckdb.StatementType.EXPLAIN:
        refuse_writes(connection, _EXPLAIN.sub("", query, count=1))
    elif statements[0].type != duckdb.StatementType.SELECT:
        raise QueryRefused(
            f"This is a {statements[0].type.name} statement; the store is open for reading only.",
            do="Ask with SELECT; to keep an answer, redirect it: --format csv > answer.csv.",
        )


def _rejected(error: duckdb.Error) -> QueryRefused:
    return QueryRefused(f"DuckDB rejects this query: {str(error).strip()}")
