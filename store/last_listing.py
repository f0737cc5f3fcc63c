"""What a source held when a run last looked at all of it: read again by place, so that nobody holds it in memory."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import accumulate
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from store.layout import EncoderStore
from store.listings import is_whole, listings_of
from store.location import Location
from store.parts import damaged
from store.records import SourceObject

_NAMES = [field.name for field in fields(SourceObject)]
_GROUPS_AT_HAND = 2
"""Row groups in memory at once; whoever asks in the order of the listing needs no more."""


class LastListing:
    """One listing's file; used by one thread at a time. Raise StoreDamaged where it cannot be read."""

    def __init__(self, location: Location, name: str) -> None:
        """Open the file and read its footer."""
        self._location, self._name = location, name
        self._file = location.open(name)
        try:
            self._parquet = pq.ParquetFile(self._file)
        except (pa.ArrowException, OSError) as error:
            self._file.close()
            raise damaged(location, name, error) from error
        groups = range(self._parquet.num_row_groups)
        self._starts = list(
            accumulate((self._parquet.metadata.row_group(group).num_rows for group in groups), initial=0)
        )
        self._at_hand = lru_cache(_GROUPS_AT_HAND)(self._group)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file."""
        self._at_hand.cache_clear()
        self._file.close()

    def columns(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of every row, a row group at a time, in the order in which the source was listed."""
        for group in range(len(self._starts) - 1):
            yield self._group(group, tuple(names))

    def objects(self, first: int, count: int) -> list[SourceObject]:
        """Return the objects of `count` rows, from the row `first` on."""
        found: list[SourceObject] = []
        group = bisect_right(self._starts, first) - 1
        while len(found) < count:
            here = first + len(found) - self._starts[group]
            rows = self._at_hand(group).slice(here, count - len(found))
            found += [SourceObject(*row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
            group += 1
        return found

    def _group(self, group: int, names: tuple[str, ...] = tuple(_NAMES)) -> pa.Table:
        try:
            return self._parquet.read_row_group(group, columns=list(names)).select(list(names))
        except (pa.ArrowException, OSError) as error:
            raise damaged(self._location, self._name, error) from error


def last_whole_listing(store: EncoderStore, source: str) -> LastListing | None:
    """Open the newest listing of a source whose run looked at everything, not at a part; None where there is none."""
    for name in reversed(listings_of(store, source)):
        if is_whole(store.location, name):
            return LastListing(store.location, name)
    return None
