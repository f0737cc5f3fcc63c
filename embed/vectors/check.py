"""The first pass over an import: every vector and every name is looked at, and nothing is written into the store."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embed.vectors.lengths import unit
from embed.vectors.reading.blocks import Import
from store.errors import ImportRefused
from store.layout import EncoderStore
from store.ledger import Ledger
from store.listings import ListingWriter
from store.schema import LISTING
from store.uris import HeldElsewhere, UriRegister

GATHERED_ROWS = 262_144
"""Names are compared with all before them, many at a time, since each comparison reads all of those."""


@dataclass(frozen=True)
class Checked:
    """What the first pass learnt."""

    wanted: npt.NDArray[np.bool_]  # (N,) in the order of the files: images that the store lacks
    repeated: int  # rows that name an image again
    misread: Counter[str]
    dropped: int  # URIs of the source's last listing that are not among these


def check(work: Import, target: EncoderStore, listing: ListingWriter, run_id: str) -> Checked:
    """Look at everything and gather the listing.

    Raise ImportRefused where a vector is not what it must be, a name is missing or stands for two vectors, or another
    source of the store lists it already.
    """
    misread: Counter[str] = Counter()
    with UriRegister() as register, Ledger(target) as ledger:
        names = _Names(work, register, ledger, listing, run_id)
        for block in work.blocks("Checking"):
            unit(block.vectors, block.where, normalize=work.normalize)
            misread += work.naming.misread(block.batch)
            names.add(work.objects(block), list(block.contents), block.pair.vectors.name)
        names.settle()
        elsewhere, dropped = register.compare(target, work.naming.source)
    if elsewhere is not None:
        raise _held_elsewhere(elsewhere)
    return Checked(np.concatenate(names.wanted), names.repeated, misread, dropped)


@dataclass
class _Names:
    """Gathers rows, and settles for many at a time which of them are new images."""

    work: Import
    register: UriRegister
    ledger: Ledger
    listing: ListingWriter
    run_id: str
    wanted: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    repeated: int = 0
    _objects: list[pa.Table] = field(default_factory=list)
    _contents: list[bytes] = field(default_factory=list)
    _files: list[str] = field(default_factory=list)  # of each row

    def add(self, objects: pa.Table, contents: list[bytes], file: str) -> None:
        """Take the rows of a block; `file` is what messages call the file of its vectors."""
        self._objects.append(objects)
        self._contents += contents
        self._files += [file] * len(contents)
        if len(self._contents) >= GATHERED_ROWS:
            self.settle()

    def settle(self) -> None:
        """Settle what has been gathered: the first row of each URI is listed, and wanted where the store lacks it."""
        if not self._contents:
            return
        objects = pa.concat_tables(self._objects).combine_chunks()
        arrived = self.register.arrive(objects["uri"], self._contents)
        if not self.work.keep_first and not arrived.same.all():
            row = int(np.argmin(arrived.same))
            raise _two_vectors(objects["uri"][row].as_py(), self._files[row])
        (first,) = np.nonzero(arrived.first)
        listed = objects.take(pa.array(first))
        run = pa.repeat(self.run_id, listed.num_rows)
        self.listing.add_table(listed.append_column("run_id", run).select(LISTING.names).cast(LISTING))
        wanted = np.zeros(objects.num_rows, np.bool_)
        wanted[first[self.ledger.pending_places([one.bytes for one in listed["image_id"].to_pylist()])]] = True
        self.wanted.append(wanted)
        self.repeated += objects.num_rows - len(first)
        self._objects, self._contents, self._files = [], [], []


def _two_vectors(uri: str, file: str) -> ImportRefused:
    return ImportRefused(
        f"{uri} is named by two rows with different vectors; the second stands in {file}.",
        "One image has one vector.",
        "Name another column with --uri-column, or pass --keep-first to take the first row of each URI.",
    )


def _held_elsewhere(held: HeldElsewhere) -> ImportRefused:
    return ImportRefused(
        f"{held.count:,} of these URIs are listed by the source {held.source} already, for example {held.uri}.",
        "Each would count twice.",
        f"To replace that listing by this one, pass --source '{held.source}'; else leave them out.",
    )
