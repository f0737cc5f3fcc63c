"""What a source held when a run listed it. Written once the listing is complete, so a listing is never half of one."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from store.layout import EncoderStore
from store.ledger import id_halves
from store.location import Location, glob_escaped
from store.parts import ROW_GROUP_ROWS, damaged, parquet_writer
from store.records import SourceObject
from store.schema import LISTING, objects_table
from store.scratch import ScratchFolder

# What the store knew of a source before: `sql/views/current_objects.sql`, for the objects below this one alone.
_KNOWN = """
    with sources as (select distinct source, run_id from listing_rows)

    select * replace ($source as source, $run as run_id)
    from listing_rows as known
    where
        (known.source = $source or (ends_with($source, '/') and starts_with(known.uri, $source)))
        and known.uri not in (select uri from looked_at)
        and not exists (
            select 1 from sources as later
            where
                later.run_id > known.run_id
                and later.source != known.source
                and ends_with(later.source, '/')
                and starts_with(known.uri, later.source)
        )
    qualify row_number() over (partition by known.uri order by known.run_id desc) = 1
"""

_CONTENT = b"clipsieve.content"
_SOURCE = b"clipsieve.source"
_WHOLE, _WHOLE_VALUE = b"clipsieve.whole", b"1"
"""Says that a run looked at everything. Give it another value where a source would list other objects of what is the
same still, as tars with another ending of pictures do: then every tar is read once more."""


class ListingWriter:
    """Collects one listing on local disk and puts it into the store when it is complete.

    A listing equal to the newest one of its source is not written again: a run that found nothing new changes nothing.
    It is written where a source inside or around this one was listed in between, because the newest look decides.
    """

    def __init__(
        self, store: EncoderStore, source: str, run_id: str, covers: Callable[[str], bool] | None = None
    ) -> None:
        """Start a listing of `source` (a URI) by the run `run_id`.

        `covers` tells of a URI whether this listing would have found it; None where it finds whatever there is. What it
        does not cover is taken over from what the store knew: a look at a part says nothing of the rest.
        """
        self._store, self._source, self._run_id, self._covers = store, source, run_id, covers
        self._source_digest = _digest(source)
        self._content = 0
        self.objects = 0
        """How many were added."""

    def __enter__(self) -> Self:
        """Open the spool file."""
        self._folder = ScratchFolder("listing")
        self._spool = Path(self._folder.name, "listing.parquet")
        self._writer = parquet_writer(self._spool, LISTING)
        self._complete = False
        self._waiting: list[pa.Table] = []
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Drop the spool file; what was not finished never reaches the store."""
        self._writer.close()
        self._folder.cleanup()

    def add(self, objects: Sequence[SourceObject]) -> None:
        """Add a page of the listing."""
        self.add_table(objects_table(objects, self._run_id))

    def add_table(self, rows: pa.Table) -> None:
        """Add rows of the schema LISTING; pages are gathered, since a reader pays for every row group."""
        self._content ^= _xor(rows["image_id"])
        self.objects += rows.num_rows
        self._waiting.append(rows)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP_ROWS:
            self._write_waiting()

    def finish(self) -> bool:
        """Put the listing into the store; return False where the newest one of this source already says the same.

        Where the store does not take it, this may be called again.
        """
        if self._covers is not None and not self._complete:
            self._take_over(self._covers)
        content = f"{self.objects}:{self._content:032x}".encode()
        if self._says_nothing_new(content):
            return False
        if self._writer.is_open:  # else this is another attempt
            self._write_waiting()
            said = {_CONTENT: content, _SOURCE: self._source.encode()}
            self._writer.add_key_value_metadata(said | ({_WHOLE: _WHOLE_VALUE} if self._covers is None else {}))
            self._writer.close()
        self._store.location.write(f"listings/{self._run_id}.{self._source_digest}.parquet", self._spool)
        return True

    def _write_waiting(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROW_GROUP_ROWS)
            self._waiting.clear()

    def _take_over(self, covers: Callable[[str], bool]) -> None:
        """Add what the store knew of this source, and what this listing has neither found nor looked for."""
        files = self._store.refreshed().newest_listings()
        if not files:
            return
        looked_at = self._closed()
        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
            connection.execute("set timezone = 'UTC'")
            connection.execute("set arrow_lossless_conversion = true")
            self._store.location.attach(connection)
            try:
                paths = [self._store.location.duckdb_path(name) for name in files]
                connection.read_parquet(paths).create_view("listing_rows")
                connection.read_parquet(glob_escaped(str(looked_at))).create_view("looked_at")
                known = connection.sql(_KNOWN, params={"source": self._source, "run": self._run_id})
                for batch in known.to_arrow_reader(ROW_GROUP_ROWS):
                    rows = pa.Table.from_batches([batch]).select(LISTING.names).cast(LISTING)
                    self.add_table(
                        rows.filter(pa.array([not covers(uri) for uri in rows["uri"].to_pylist()], pa.bool_()))
                    )
            except duckdb.Error as error:
                raise damaged(self._store.location, files[0], error) from error

    def _closed(self) -> Path:
        """Return the listing so far as a whole file, and go on in a copy of it."""
        self._write_waiting()
        self._writer.close()
        so_far, self._spool = self._spool, self._spool.with_name(f"known-{self._spool.name}")
        self._writer = parquet_writer(self._spool, LISTING)
        with pq.ParquetFile(so_far) as found:
            for group in range(found.num_row_groups):
                self._writer.write_table(found.read_row_group(group).cast(LISTING), row_group_size=ROW_GROUP_ROWS)
        return so_far

    def _says_nothing_new(self, content: bytes) -> bool:
        """Whether the newest listing of this source has these objects, and has looked at as much."""
        newest = {name.split(".")[-2]: name for name in self._store.refreshed().newest_listings()}
        mine = newest.pop(self._source_digest, None)
        said = {} if mine is None else _metadata(self._store.location, mine)
        if mine is None or said.get(_CONTENT) != content or (self._covers is None and said.get(_WHOLE) != _WHOLE_VALUE):
            return False
        return not any(
            name > mine and self._overlaps(_metadata(self._store.location, name)) for name in newest.values()
        )

    def _overlaps(self, metadata: dict[bytes, bytes]) -> bool:
        other = metadata.get(_SOURCE, b"").decode()
        if not (other.endswith("/") and self._source.endswith("/")):
            return True  # a list may name anything
        return other.startswith(self._source) or self._source.startswith(other)


def listings_of(store: EncoderStore, source: str) -> list[str]:
    """Return the names of every listing of a source, the newest last."""
    return [name for name in store.parts("listings") if name.split(".")[-2] == _digest(source)]


def is_whole(location: Location, name: str) -> bool:
    """Whether the run of a listing looked at everything, not at a part; raise StoreDamaged where nobody can tell."""
    return _metadata(location, name).get(_WHOLE) == _WHOLE_VALUE


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def _metadata(location: Location, name: str) -> dict[bytes, bytes]:
    """Return what a listing's file says of itself; raise StoreDamaged where it cannot be read."""
    try:
        with location.open(name) as file:
            return pq.ParquetFile(file).metadata.metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise damaged(location, name, error) from error


def _xor(ids: pa.ChunkedArray) -> int:
    """Return the exclusive or of all ids as numbers: the same for the same ids in any order."""
    high, low = np.bitwise_xor.reduce(id_halves(ids), axis=0)
    return int(high) << 64 | int(low)
