"""The members of tars that were listed before and are the same still, so that their headers need not be read again.

A member's revision begins with its tar's (`ETAG@PLACE`), and a listing whose run looked at everything holds every
picture of every tar. So a tar that has the revision that its members tell of holds these members.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from embed.sources.tar_uris import MEMBER_PATTERN
from store.errors import NotNow
from store.last_listing import LastListing, last_whole_listing
from store.layout import EncoderStore
from store.records import SourceObject


@dataclass(frozen=True)
class _Place:
    """Where the members of a tar stand in the listing; its revision, which is none where it was damaged."""

    revision: str | None
    first: int
    count: int


@contextmanager
def recalled_tars(store: EncoderStore | None, source: str) -> Iterator["RecalledTars | None"]:
    """Open what a store knows of a source of tars, for as long as the block runs; None where it knows nothing."""
    listing = None
    if store is not None:
        with suppress(NotNow):
            listing = last_whole_listing(store, source)
    with listing or nullcontext():
        yield None if listing is None else RecalledTars(listing)


class RecalledTars:
    """What the last listing says of tars; used by many threads."""

    def __init__(self, listing: LastListing) -> None:
        """Ask nothing yet. In memory is where each tar's members stand, never the members."""
        self._listing, self._lock = listing, Lock()
        self._places: dict[str, _Place] | None = None

    def members(self, tar: SourceObject) -> list[SourceObject] | None:
        """Return what this tar holds, as it was listed; None where it is another one by now, or was damaged.

        A tar without a picture is not known either, and a store that does not answer knows nothing from then on.
        """
        with self._lock:
            try:
                if self._places is None:
                    self._places = self._found()
                place = self._places.get(tar.uri)
                if place is None or place.revision != tar.revision:
                    return None
                return self._listing.objects(place.first, place.count)
            except NotNow:
                self._places = {}
                return None

    def _found(self) -> dict[str, _Place]:
        places: dict[str, _Place] = {}
        first = 0
        for rows in self._listing.columns(["uri", "revision"]):
            for tar, revision, count in _runs(rows):
                before = places.get(tar, _Place(revision, first, 0))
                follows = before.revision == revision and before.first + before.count == first  # in another row group
                places[tar] = _Place(revision if follows else None, before.first, before.count + count)
                first += count
        return places


def _runs(rows: pa.Table) -> list[tuple[str, str | None, int]]:
    """Return each tar whose members stand together, its revision, and how many they are.

    No revision where the tar itself stands there, since it was damaged, or where a name leaves open which tar is meant.
    """
    uris = rows["uri"].combine_chunks()
    found = pc.struct_field(pc.extract_regex(uris, MEMBER_PATTERN), "tar")
    keys = pc.binary_join_element_wise(pc.if_else(found.is_null(), "damaged", "tar"), pc.coalesce(found, uris), " ")
    encoded = pc.run_end_encode(keys)
    runs, last = [], 0
    for key, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        kind, _, tar = key.partition(" ")
        revision = rows["revision"][last].as_py().rpartition("@")[0]
        runs.append((tar.rpartition("::")[2], revision if kind == "tar" and "::" not in tar else None, end - last))
        last = end
    return runs
