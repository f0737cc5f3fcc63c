"""What a round writes: close pairs and members of crowds as Parquet, and the cells of an approximate set."""

import io
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from query.duplicates.ids import NO_CROWDS, Crowds, ids_of, take
from query.duplicates.neighbors.bound import Bound
from query.duplicates.neighbors.cells import Cells
from query.duplicates.neighbors.compare import Pairs
from query.duplicates.neighbors.rows import Rows
from query.duplicates.sets import NeighborSet
from store.errors import StoreDamaged
from store.layout import EncoderStore
from store.parts import parquet_bytes, parquet_writer, read_part
from store.schema import CROWDS, NEIGHBORS

_ROW_GROUP = 1 << 17  # pairs


def write_pairs(store: EncoderStore, name: str, rows: Rows, found: Iterable[Pairs]) -> None:
    """Write the pairs of one stripe as one file, keeping about a row group of them in memory."""
    with tempfile.TemporaryDirectory(prefix="clipsieve-pairs-") as folder:
        path = Path(folder, "pairs.parquet")
        with parquet_writer(path, NEIGHBORS) as writer:
            waiting: list[Pairs] = []
            for pairs in found:
                waiting.append(pairs)
                if sum(map(len, waiting)) >= _ROW_GROUP:
                    writer.write_table(pairs_table(rows, Pairs.joined(waiting)), row_group_size=_ROW_GROUP)
                    waiting = []
            writer.write_table(pairs_table(rows, Pairs.joined(waiting)), row_group_size=_ROW_GROUP)
        store.location.write(name, path)


def pairs_table(rows: Rows, pairs: Pairs, *, numbered: bool = False) -> pa.Table:
    """Return pairs of rows as pairs of images, in the order of ids; `numbered` adds the place of each in `pairs`."""
    first, second = rows.place[pairs.first], rows.place[pairs.second]
    swapped = first > second
    order = np.lexsort((np.where(swapped, first, second), np.where(swapped, second, first)))
    columns = [
        take(rows.ids, np.where(swapped, pairs.second, pairs.first)[order]),
        take(rows.ids, np.where(swapped, pairs.first, pairs.second)[order]),
        pa.array(pairs.cosine[order], pa.float32()),
    ]
    table = pa.table(columns, schema=NEIGHBORS)
    return table.append_column("number", pa.array(order)) if numbered else table


def write_crowds(store: EncoderStore, name: str, crowds: Crowds) -> None:
    """Write the members that a round has found."""
    everyone = np.arange(len(crowds))
    columns = [take(crowds.members, everyone), take(crowds.compared, everyone)]
    store.location.write(name, parquet_bytes(pa.table(columns, schema=CROWDS)))


def read_crowds(store: EncoderStore, neighbors: NeighborSet) -> Crowds:
    """Return the members of the complete rounds of a set."""
    found = [read_part(store.location, name) for name in neighbors.crowd_files]
    sides = (
        [getattr(NO_CROWDS, side), *(ids_of(table[column]) for table in found)]
        for side, column in (("members", "image_id"), ("compared", "member_of"))
    )
    return Crowds(*(np.concatenate(side) for side in sides))


def write_cells(store: EncoderStore, neighbors: NeighborSet, bound: Bound, cells: Cells) -> bool:
    """Keep the cells, and the coordinates in which they are given; return False where the set has cells already."""
    sink = io.BytesIO()
    basis = np.empty((0, 0)) if bound.basis is None else bound.basis
    np.savez(sink, basis=basis, centroids=cells.centroids, reach=np.float64(cells.reach))
    return store.location.create(f"{neighbors.folder}/cells.npz", sink.getvalue())


def read_cells(store: EncoderStore, neighbors: NeighborSet) -> tuple[Bound, Cells] | None:
    """Return the coordinates and the cells of a set, or None where it has none yet."""
    name = f"{neighbors.folder}/cells.npz"
    data = store.location.read(name)
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            bound = Bound(kept["basis"] if kept["basis"].size else None)
            return bound, Cells(kept["centroids"], float(kept["reach"]))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise StoreDamaged(
            f"{store.location.uri}/{name} does not hold the cells of a set of neighbors.",
            do=f"Remove the folder {neighbors.folder} and run `clipsieve neighbors` again.",
        ) from error
