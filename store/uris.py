"""Which image does a URI name? In one import each names one, and no other source of the encoder holds it as well."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.layout import EncoderStore
from store.parts import damaged

# Of the newest listings: what they hold, and which of them the one that is to be written will cover.
_LISTED = """
    create or replace temp view listed as
    with rows as (from listing_rows),
    sources as (select distinct source, run_id from rows)
    select rows.*
    from rows
    where not exists (
        select 1 from sources as later
        where later.run_id > rows.run_id and starts_with(rows.uri, later.source)
    )
"""
_FIRSTS = """
    create or replace temp table firsts as
    with named as (select place, md5_number(uri) as uri_id, content from arrived),
    numbered as (
        select *, row_number() over uris as nth, first_value(content) over uris as first_content
        from named
        window uris as (partition by uri_id order by place)
    )
    select
        place,
        uri_id,
        numbered.content,
        nth = 1 and seen.content is null as is_first,
        numbered.content = coalesce(seen.content, first_content) as is_same
    from numbered
    left join seen using (uri_id)
"""
_ELSEWHERE = """
    select count(*), min(uri), arg_min(source, uri)
    from listed
    where
        source != $source and not starts_with(uri, $source)
        and md5_number(uri) in (select uri_id from seen)
"""
_DROPPED = """
    select count(*) from listed where source = $source and md5_number(uri) not in (select uri_id from seen)
"""


@dataclass(frozen=True)
class Arrived:
    """What is known of some rows' URIs, in their order: both (N,) bool."""

    first: npt.NDArray[np.bool_]  # no earlier row has this URI
    same: npt.NDArray[np.bool_]  # the earliest row of this URI has the same content


@dataclass(frozen=True)
class HeldElsewhere:
    """URIs that another source's newest listing holds: how many, and one of them."""

    count: int
    uri: str
    source: str


class UriRegister:
    """Remembers 32 bytes of every URI, on local disk where memory does not do; used by one thread."""

    def __enter__(self) -> Self:
        """Open an empty register."""
        self._folder = tempfile.TemporaryDirectory(prefix="clipsieve-uris-")
        self._connection = duckdb.connect(
            Path(self._folder.name, "uris.duckdb"), config={"autoinstall_known_extensions": "false"}
        )
        self._connection.execute("create table seen (uri_id uhugeint, content uuid)")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Forget everything."""
        self._connection.close()
        self._folder.cleanup()

    def arrive(self, uris: pa.Array, contents: list[bytes]) -> Arrived:
        """Register rows: `uris`, and 16 bytes for each that stand for what the URI names."""
        rows = {"place": pa.array(range(len(uris)), pa.int64()), "uri": uris, "content": pa.array(contents, pa.uuid())}
        self._connection.register("arrived", pa.table(rows))
        self._connection.execute(_FIRSTS)
        self._connection.execute("insert into seen select uri_id, content from firsts where is_first")
        found = self._connection.execute("select is_first, is_same from firsts order by place").fetchnumpy()
        self._connection.unregister("arrived")
        return Arrived(np.asarray(found["is_first"], np.bool_), np.asarray(found["is_same"], np.bool_))

    def compare(self, store: EncoderStore, source: str) -> tuple[HeldElsewhere | None, int]:
        """Return what other sources hold of these URIs, and how many URIs of this source's last listing are missing."""
        names = store.newest_listings()
        if not names:
            return None, 0
        store.location.attach(self._connection)
        try:
            files = [store.location.duckdb_path(name) for name in names]
            self._connection.read_parquet(files).select("uri", "source", "run_id").create_view("listing_rows")
            self._connection.execute(_LISTED)
            count, uri, other = self._connection.execute(_ELSEWHERE, {"source": source}).fetchall()[0]
            (dropped,) = self._connection.execute(_DROPPED, {"source": source}).fetchall()[0]
        except duckdb.Error as error:
            raise damaged(store.location, names[0], error) from error
        return (HeldElsewhere(count, uri, other) if count else None), dropped
