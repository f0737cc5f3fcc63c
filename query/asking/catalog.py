"""A small .duckdb file whose views are those of `clipsieve sql`, for any DuckDB client.

Its views name the store's folders, not its files, so they show parts that are written later. What they cannot follow is
fixed in the file and shown by the table `clipsieve_catalog`: the score set, the detectors' answers, and which folders
had no file yet. When one of these changes, the catalog has to be made again.
"""

import json
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb

from query.connection import connect
from query.scoring.score_sets import ScoreSet
from query.views import VIEWS, Rows, create_empty, create_list_columns, rows_of
from sql import load, names
from store.errors import LocationError, RunExists, StoreDamaged
from store.layout import EncoderStore

_MARK = "clipsieve_catalog"
_STORAGE = "v1.4.0"
"""The oldest DuckDB that shall open the file; older ones read half floats in another way."""


@dataclass(frozen=True)
class Catalog:
    """A written catalog: where it lies, what it shows, and what it cannot follow."""

    place: str
    views: tuple[str, ...]
    macros: tuple[str, ...]
    concepts: tuple[str, ...]  # whose scores it shows, of the score set as it is now
    empty: tuple[str, ...]  # folders that had no file yet: their views stay empty until the catalog is made again
    on_s3: bool


def write_catalog(store: EncoderStore, scored: ScoreSet | None, place: str | None = None) -> Catalog:
    """Write the catalog to a local file, replacing an older one when the new one is whole.

    Without a place it is `<name of the store>.duckdb` in the working folder. Raise RunExists where the file is
    something else, or holds what somebody has added to it.
    """
    name = store.location.uri.rstrip("/").rsplit("/", 2)[-2] or "store"  # what follows is encoder=…
    path = Path(place or f"{name}.duckdb").expanduser().absolute()
    _refuse_others(path)
    sources = rows_of(store, scored)
    with _staged(path) as staged, _new_database(store, staged) as connection:
        store.location.attach_public(connection)
        for view, rows in sources.items():
            _create_rows(connection, store, view, rows)
        _create_views(connection, {name.removesuffix("_rows") for name, rows in sources.items() if rows.files})
        catalog = Catalog(
            place=str(path),
            views=(*VIEWS, "candidates"),
            macros=tuple(name.removeprefix("macros/") for name in names("macros")),
            concepts=scored.names if scored else (),
            empty=tuple(rows.folder.partition("/")[0] for rows in sources.values() if not rows.files),
            on_s3=store.location.uri.startswith("s3://"),
        )
        _mark(connection, store, catalog)
    return catalog


def _create_rows(connection: duckdb.DuckDBPyConnection, store: EncoderStore, view: str, rows: Rows) -> None:
    """Create a view of a folder's files, those to come included. Views take no parameters, so the path is quoted."""
    if not rows.files:
        create_empty(connection, view, rows.schema)
        return
    files = _quoted(store.location.public_glob(rows.folder))
    options = "hive_partitioning = false"  # `encoder=…` in the path is no column
    complete = not rows.own_columns and _has_every_column(connection, store, rows)
    if not complete:
        options += ", union_by_name = true"
    read = f"select * from read_parquet({files}, {options})"  # noqa: S608
    if view == "listing_rows":
        # Of each source the newest: names are `<run_id>.<source digest>.parquet`, and run ids sort by time.
        read = (
            f"select * exclude (filename) from read_parquet({files}, {options}, filename = true) "  # noqa: S608
            f"where filename in (select max(file) from glob({files}) group by split_part(file, '.', -2))"
        )
    if not complete:
        create_empty(connection, f"{view}_columns", rows.schema)
        read += f" union all by name from {view}_columns"
    connection.execute(f"create view {view} as {read}")


def _has_every_column(connection: duckdb.DuckDBPyConnection, store: EncoderStore, rows: Rows) -> bool:
    """Return whether the oldest and the newest file have every column: files of earlier versions may lack some."""
    ends = ([store.location.duckdb_path(name)] for name in (rows.files[0], rows.files[-1]))
    return all({*rows.schema.names} <= {*connection.read_parquet(end).columns} for end in ends)


def _create_views(connection: duckdb.DuckDBPyConnection, there: Collection[str]) -> None:
    """Create the documented views. What a session computes once for its own moment is a view too, and so stays true."""
    for name in ("superseded", "covered", "relisted"):
        connection.execute(load(f"views/{name}").replace("create temp table", "create view", 1))
    for name in VIEWS:
        is_missing = name == "metadata" and name not in there
        connection.execute(load(f"views/no_{name}" if is_missing else f"views/{name}"))
    # Its columns depend on its rows, which a view cannot do.
    measured = load("views/measured").replace("create temp table", "create table", 1)
    connection.execute(measured if "measurement" in there else load("views/no_measured"))
    create_list_columns(connection)
    connection.execute(load("rules/candidates"))
    for name in names("macros"):
        connection.execute(load(name))


def _mark(connection: duckdb.DuckDBPyConnection, store: EncoderStore, catalog: Catalog) -> None:
    """Write down what the catalog shows, and what it is made of, so that nobody's own table is ever lost with it."""
    connection.execute(f"create table {_MARK} (key varchar, value varchar)")
    record = {
        "store": store.location.uri,
        "encoder_id": store.encoder.encoder_id,
        "clipsieve": version("clipsieve"),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "concepts": ", ".join(catalog.concepts),
        "empty": ", ".join(catalog.empty),
        "holds": json.dumps(_held(connection)),
    }
    for key, value in record.items():
        connection.execute(f"insert into {_MARK} values ($key, $value)", {"key": key, "value": value})  # noqa: S608


def _held(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of every table and view of the database in use."""
    query = (
        "select view_name from duckdb_views() where not internal and database_name = current_database() "
        "union select table_name from duckdb_tables() where database_name = current_database() order by 1"
    )
    return [name for (name,) in connection.execute(query).fetchall()]


def _refuse_others(path: Path) -> None:
    """Raise RunExists where a file is no catalog of ours, or one that somebody keeps tables of their own in."""
    if not path.exists():
        return
    why = "Only a catalog that clipsieve wrote, and nobody added to, is replaced."
    do = "Give --to another file."
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            ((known,),) = connection.execute(f"select value from {_MARK} where key = 'holds'").fetchall()  # noqa: S608
            added = set(_held(connection)) - {_MARK, *json.loads(known)}
    except (duckdb.Error, ValueError) as error:
        raise RunExists(f"{path} exists, and is no catalog of clipsieve's, or is in use.", why, do) from error
    if added:
        raise RunExists(f"{path} also holds {', '.join(sorted(added))}.", why, do)


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Give a name beside `path` that becomes `path` when the block ends well."""
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staged
        staged.replace(path)
    except OSError as error:
        raise LocationError(
            f"Cannot write {path}: {error.strerror or error}.", do="Give --to a place that can be written to."
        ) from error
    finally:
        with suppress(OSError):  # it would hide the error that is on its way
            staged.unlink()


@contextmanager
def _new_database(store: EncoderStore, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection that creates what it is told to in a new file, which older versions of DuckDB can open too."""
    with connect(store.location) as connection:
        try:
            connection.execute(f"attach {_quoted(str(path))} as written (storage_version '{_STORAGE}')")
        except duckdb.Error as error:
            raise OSError(str(error)) from error
        connection.execute("use written")
        try:
            yield connection
        except duckdb.Error as error:
            raise StoreDamaged(
                f"The store cannot be read: {' '.join(str(error).split())[:200]}.",
                do="Run `clipsieve verify STORE`, which reads every file by itself.",
            ) from error
        connection.execute("use memory")
        connection.execute("detach written")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
