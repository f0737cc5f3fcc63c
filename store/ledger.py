"""Which of these objects are done? An anti-join of the listing against the store, in DuckDB.

An image is done when a row with its URI and revision stands in a part; nothing else is ever asked.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

from store.layout import EncoderStore
from store.parts import damaged
from store.records import SourceObject


class Ledger:
    """The ids of all images that a store holds, 16 bytes each; used by one thread at a time."""

    def __init__(self, store: EncoderStore, *, retry_failed: bool = False) -> None:
        """Load the ids; with `retry_failed`, images that failed count as not done."""
        self._connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self._connection.execute("create table done (image_id uuid, status varchar)")
        store.location.attach(self._connection)
        for name in store.parts("images"):
            self._load(store, name)
        if retry_failed:
            self._connection.execute(
                "delete from done where image_id not in (select image_id from done where status != 'failed')"
            )

    def pending(self, objects: Sequence[SourceObject]) -> list[SourceObject]:
        """Return those objects, in their order, that no part holds yet."""
        return [objects[place] for place in self.pending_places([o.image_id.bytes for o in objects])]

    def pending_places(self, image_ids: Sequence[bytes]) -> list[int]:
        """Return the places of those ids, in their order, that no part holds yet."""
        places = pa.array(range(len(image_ids)), pa.int64())
        wanted = pa.table({"place": places, "image_id": pa.array(image_ids, pa.uuid())})
        self._connection.register("wanted", wanted)
        rows = self._connection.execute(
            "select place from wanted anti join done using (image_id) order by place"
        ).fetchall()
        self._connection.unregister("wanted")
        return [place for (place,) in rows]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connection."""
        self._connection.close()

    def _load(self, store: EncoderStore, name: str) -> None:
        try:
            part = self._connection.read_parquet([store.location.duckdb_path(name)])
            part.select("image_id", "status").insert_into("done")
        except duckdb.Error as error:
            raise damaged(store.location, name, error) from error
