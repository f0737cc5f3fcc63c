"""Tables of the user's own beside the images: `[table.people]` in a policy. Their columns may be asked about."""

import difflib
from collections.abc import Collection, Sequence

import duckdb

from query.rules.policies.condition import first_line, quoted
from query.rules.policies.policy import JoinedTable
from store.errors import UnknownName, UsageError
from store.location import FolderLocation


def read_table(
    connection: duckdb.DuckDBPyConnection, table: JoinedTable, name: str, taken: Collection[str]
) -> list[str]:
    """Fill the temp table `name` with one row per value of the column that is joined on; return the other columns.

    `taken` are the columns that there are already. Raise UsageError where the table cannot be joined.
    """
    try:
        rows = _rows(connection, table)
        columns = [column for column in rows.columns if column.lower() != table.on]
        _refuse_taken(table, columns, taken)
        kind = "uuid" if table.on == "image_id" else "varchar"
        others = "".join(f", {quoted(column)}" for column in columns)
        rows.create_view("joined_rows", replace=True)
        query = f"select {table.on}::{kind} as {table.on}{others} from joined_rows where {table.on} is not null"  # noqa: S608
        connection.execute(f"create or replace temp table {name} as {query}")
        connection.execute("drop view joined_rows")
    except duckdb.Error as error:
        raise UsageError(f"{table.what} cannot be read from {table.path}: {first_line(error)}.") from error
    _refuse_doubles(connection, table, name)
    return columns


def require_matches(connection: duckdb.DuckDBPyConnection, table: JoinedTable, name: str, source: str) -> None:
    """Raise UsageError where not one row of a table belongs to an image: then its values are written otherwise."""
    on = table.on
    found = f"select count(*), count(*) filter ({on} in (select {on} from {source})), min({on}) from {name}"  # noqa: S608
    ((rows, matched, example),) = connection.execute(found).fetchall()
    ((other,),) = connection.execute(f"select min({on}) from {source}").fetchall()  # noqa: S608
    if rows and not matched and other is not None:
        raise UsageError(
            f"{table.what}: no row belongs to any image.",
            f"Its {on} is, for example, {str(example)!r}; that of an image {str(other)!r}.",
        )


def _rows(connection: duckdb.DuckDBPyConnection, table: JoinedTable) -> duckdb.DuckDBPyRelation:
    path = FolderLocation(table.path.parent).duckdb_path(table.path.name)
    if path.endswith(".parquet"):
        rows = connection.read_parquet(path)
        _require_key(table, rows.columns)
        return rows
    named = connection.read_csv(path, header=True, all_varchar=True)
    # Every row is looked at before a column is called a number; and 007 is a name, whatever it looks like.
    return connection.read_csv(path, header=True, sample_size=-1, dtype={_require_key(table, named.columns): "VARCHAR"})


def _require_key(table: JoinedTable, columns: Sequence[str]) -> str:
    found = [column for column in columns if column.lower() == table.on]
    if not found:
        nearest = difflib.get_close_matches(table.on, columns, 1, 0)
        raise UnknownName(
            f"{table.what} has no column {table.on!r} to be joined on.", do=f"The nearest is {nearest[0]!r}."
        )
    return found[0]


def _refuse_taken(table: JoinedTable, columns: Sequence[str], taken: Collection[str]) -> None:
    names = {name.lower() for name in taken}
    for column in columns:
        if column.lower() in names:
            raise UsageError(
                f"{table.what} has a column {column!r}, which is there already.",
                "A rule that asks for it could mean either.",
                "Give it another name.",
            )


def _refuse_doubles(connection: duckdb.DuckDBPyConnection, table: JoinedTable, name: str) -> None:
    on = table.on
    doubled = f"select {on}, count(*) as rows from {name} group by {on} having rows > 1 order by rows desc, {on}"  # noqa: S608
    if found := connection.execute(doubled).fetchall():
        raise UsageError(
            f"{table.what} has {found[0][1]:,} rows with the {on} {str(found[0][0])!r}"
            f"{f', and {len(found) - 1:,} more values twice' if len(found) > 1 else ''}.",
            "An image would be there twice.",
            "Keep one row of each.",
        )
