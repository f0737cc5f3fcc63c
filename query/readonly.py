"""SQL that somebody typed: one query that reads, or a refusal."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import duckdb
import pyarrow as pa

from store.errors import QueryRefused

_INTERRUPT_EVERY_S = 0.05

_OPTION = r"\s*(?:analyze|format\s+\w+)\s*"
_EXPLAIN = re.compile(rf"\s*explain\b\s*(?:analyze\b|\({_OPTION}(?:,{_OPTION})*\))?", re.IGNORECASE)

# Functions that can stand in a SELECT and change something, write a file, or hide another query in a text or a pointer.
# What there is: `select function_name from duckdb_functions() where has_side_effects or function_type = 'table'`.
_DOES_MORE_THAN_READ = frozenset(
    {
        *("checkpoint", "force_checkpoint", "setval", "write_log"),
        *("enable_logging", "disable_logging", "truncate_duckdb_logs", "enable_profiling", "disable_profiling"),
        *("create_external_resource", "destroy_external_resource", "register_external_resource"),
        *("deregister_external_resource", "register_external_resource_type"),
        *("query", "json_execute_serialized_sql"),
        *("arrow_scan", "arrow_scan_dumb", "pandas_scan", "python_arrow_scan", "python_map_function", "seq_scan"),
    }
)


def run_readonly(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    parameters: Mapping[str, Any] | None = None,
    at_most: int | None = None,
) -> pa.Table:
    """Return the result of one query; raise QueryRefused for anything but a single SELECT (or an EXPLAIN of one).

    DuckDB's own parser tells what a query does, so COPY, ATTACH, INSTALL, SET and the like never run, whatever hides
    them. Columns of one name are told apart by `_1`, `_2`; a HUGEINT, which is what `sum` gives, is a whole number.
    `at_most` ends the query once there are so many rows. Ctrl-C ends it too, and leaves the connection usable.
    """
    refuse_writes(connection, query)

    def work() -> pa.Table:
        relation = connection.sql(query, params=dict(parameters) if parameters else None)
        return (relation if at_most is None else relation.limit(at_most)).to_arrow_table()

    try:
        table = _until_interrupted(connection, work)
    except duckdb.Error as error:
        raise _rejected(str(error)) from error
    columns = [_plain(column) for column in table.columns]
    return pa.table(columns, names=_distinct(table.column_names))


def refuse_writes(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise QueryRefused for anything but one query that reads."""
    kind = _kind(connection, query)
    if kind == "EXPLAIN":
        explain = _EXPLAIN.match(query)
        if explain is None:
            raise QueryRefused("Only a query can be explained.", do="Begin with EXPLAIN or EXPLAIN ANALYZE.")
        query = query[explain.end() :]
        kind = _kind(connection, query)
    if kind != "SELECT":
        raise _writes(f"a {kind} statement")
    for more in does_more_than_read(parse(connection, query)):
        raise _writes(more)


def parse(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """Return DuckDB's parse tree of each SELECT; raise QueryRefused for what is no SELECT."""
    ((text,),) = connection.execute("select json_serialize_sql($query)", {"query": query}).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise _rejected(tree["error_message"])
    return [statement["node"] for statement in tree["statements"]]


def does_more_than_read(node: object) -> Iterator[str]:
    """Yield what below a parsed node could change something: `with x as (copy …)`, or a function with side effects."""
    if isinstance(node, dict):
        if str(node.get("type")).endswith("_QUERY_NODE"):
            yield f"a {node['type'].removesuffix('_QUERY_NODE')} inside of WITH"
        if (name := str(node.get("function_name")).lower()) in _DOES_MORE_THAN_READ:
            yield f"a call of {name}()"
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for value in below:
        yield from does_more_than_read(value)


def _until_interrupted(connection: duckdb.DuckDBPyConnection, work: Callable[[], pa.Table]) -> pa.Table:
    """Return what the work returns; Ctrl-C ends it, and leaves the connection usable.

    In a thread of its own: while a query runs in the main one, DuckDB 2.0 asks for signals only now and then.
    """
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(work)
        try:
            return answer.result()
        finally:  # Ctrl-C, or whatever else ends the waiting
            while not answer.done():
                connection.interrupt()
                wait([answer], timeout=_INTERRUPT_EVERY_S)


def _kind(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _rejected(str(error)) from error
    if len(statements) != 1:
        raise QueryRefused(f"One query at a time: this is {len(statements)}.")
    return statements[0].type.name


def _writes(what: str) -> QueryRefused:
    return QueryRefused(
        f"This is {what}; the store is open for reading only.",
        do="Ask with SELECT; to keep an answer, redirect it: --format csv > answer.csv.",
    )


def _rejected(message: str) -> QueryRefused:
    return QueryRefused(f"DuckDB rejects this query: {message.strip()}")


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a HUGEINT column as int64, or as decimals where it does not fit, and truth as Arrow's own bits."""
    if isinstance(column.type, pa.Bool8Type):  # which Parquet and CSV would take for a number and a text
        return column.cast(pa.bool_())
    if getattr(column.type, "type_name", "") not in {"hugeint", "uhugeint"}:
        return column
    signed = column.type.type_name == "hugeint"
    values = [None if b is None else int.from_bytes(b, "little", signed=signed) for b in column.to_pylist()]
    try:
        return pa.chunked_array([pa.array(values, pa.int64())])
    except OverflowError:
        return pa.chunked_array([pa.array(values, pa.decimal256(39, 0))])


def _distinct(names: list[str]) -> list[str]:
    """Return the names with a number after each that has occurred before."""
    found: list[str] = []
    for name in names:
        number, distinct = 0, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return found
