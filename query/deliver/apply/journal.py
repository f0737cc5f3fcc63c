"""What was begun and done, in parts that are only ever added: `RUN/apply/<digest>/journal/<number>-<writer>.parquet`.

A part is whole or absent, so a process that is killed leaves what it has noted. Nothing is done before it is noted that
it is begun.
"""

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from store.errors import RunDamaged, UsageError
from store.location import Location
from store.parts import parquet_bytes

_TIME = pa.timestamp("us", "UTC")

COPIES = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),  # at the destination
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("uri", pa.string()),
        pa.field("source_etag", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("since", _TIME),  # the key held nothing then; by the service's clock, as `noted_at` is
        pa.field("noted_at", _TIME, nullable=False),
        pa.field("etag", pa.string()),  # of what was made
        pa.field("version_id", pa.string()),
        pa.field("last_modified", _TIME),
        pa.field("upload_id", pa.string()),
        pa.field("detail", pa.string()),
    ]
)


@dataclass
class Journal:
    """The parts of one destination; written by many threads."""

    location: Location
    schema: pa.Schema
    _writer: str = field(default_factory=lambda: secrets.token_hex(4))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int | None = None

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a part; what it says is on disk, or in the bucket, when this returns."""
        if not rows:
            return
        with self._lock:
            seq = self._next if self._next is not None else self._after_the_last()
            columns = [pa.array([row.get(f.name) for row in rows], f.type) for f in self.schema if f.name != "seq"]
            numbers = pa.array([seq] * len(rows), pa.int64())
            table = pa.table([numbers, *columns], schema=self.schema)
            self.location.write(f"journal/{seq:08}-{self._writer}.parquet", parquet_bytes(table))
            self._next = seq + 1

    def view(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Show every row that was ever noted as the table `journal`."""
        empty_table(connection, "journal", self.schema)
        names = self._names()
        try:
            if names:
                paths = [self.location.duckdb_path(name) for name in names]
                connection.read_parquet(paths).insert_into("journal")
        except duckdb.Error as error:
            raise RunDamaged(
                f"The journal in {self.location.uri} cannot be read: {' '.join(str(error).split())[:200]}.",
                "It is what tells our objects from those of others.",
                "Restore the folder from a backup.",
            ) from error

    def _names(self) -> list[str]:
        return [entry.name for entry in self.location.files("journal") if entry.name.endswith(".parquet")]

    def _after_the_last(self) -> int:
        return max((int(name.removeprefix("journal/").partition("-")[0]) for name in self._names()), default=0) + 1


def empty_table(connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    """Create a table without rows, in the place of one of that name."""
    connection.register("no_rows", schema.empty_table())
    connection.execute(f'create or replace table "{name}" as from no_rows')
    connection.unregister("no_rows")


def apply_folder(run: Location, destination: str) -> Location:
    """Return the folder of a run in which what is done at one destination is recorded."""
    return run.child("apply").child(hashlib.sha256(destination.encode()).hexdigest()[:12])


def declare(folder: Location, declared: Mapping[str, Any]) -> Mapping[str, Any]:
    """Record what an application is, once: to where, of which run, and how. Return the record.

    Raise UsageError where it was begun in another way: two halves that were made differently would be one result.
    """
    data = json.dumps(declared, indent=2).encode() + b"\n"
    if folder.create("apply.json", data):
        return declared
    before: dict[str, Any] = json.loads(folder.read("apply.json") or b"{}")
    for name in declared.keys() - {"begun_at", "tool_version"}:
        if before.get(name) != declared[name]:
            raise UsageError(
                f"This was begun with {name} = {before.get(name)!r}, and is now asked for with {declared[name]!r}.",
                "What is there already would differ from what is added.",
                "Give the same options again, or `clipsieve undo` it first.",
            )
    return before


def declared_in(run: Location) -> list[tuple[Location, Mapping[str, Any]]]:
    """Return every application of a run: its folder and its record, by the time that it was begun."""
    found = []
    for name in run.child("apply").folders():
        folder = run.child("apply").child(name)
        if data := folder.read("apply.json"):
            found.append((folder, json.loads(data)))
    return sorted(found, key=lambda pair: str(pair[1].get("begun_at")))


def retire(folder: Location) -> None:
    """Set the record of an application aside that was undone, so that its run may be applied anew, in another way."""
    data = folder.read("apply.json")
    if data is not None:
        folder.write(f"undone-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json", data)
        folder.remove("apply.json")
