"""Scores of one part, computed in one of two ways that give the same numbers.

In SQL, `sql/scoring/score_part.sql`: DuckDB decodes the embeddings and multiplies as it goes, once more for each
vector. As a matrix: row groups are read by pyarrow, made float32 and multiplied by all vectors at once, by BLAS, a part
on each of THREADS threads. Decoding costs more that way, a further vector next to nothing, and hidden layers are
possible. FEW or fewer vectors are asked in SQL.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from query.scoring.readout import Readout
from sql import load
from store.location import Location
from store.parts import damaged
from store.records import Status
from store.schema import scores_schema

FEW = 2
"""So many vectors are asked in SQL, more as a matrix.

Measured on 400,000 x 512, as CPU time beside that of decoding alone in DuckDB: one vector 1.5 in SQL and 1.8 as a
matrix, two 1.8 and 1.9, three 2.3 and 2.0, five 2.8 and 2.4, twelve 5.0 and 2.1, sixty (with softmax) 2.7 as a matrix.
"""

THREADS = 2

_BLOCK_ROWS = 4096  # so many embeddings are float32 at a time: 8 MB of them at D = 512
_IDENTITY = scores_schema(()).names

_Matrix = npt.NDArray[np.float32]


def few(readouts: Mapping[str, Readout]) -> bool:
    """Return whether SQL is the faster way, and a possible one."""
    vectors = sum(len(readout.rows) for readout in readouts.values())
    return 0 < vectors <= FEW and not any(readout.hidden for readout in readouts.values())


def in_sql(
    connection: duckdb.DuckDBPyConnection, location: Location, name: str, readouts: Mapping[str, Readout]
) -> pa.Table:
    """Return image_id, run_id, uri and a column per readout for every embedded image of a part, as SQL says it.

    No readout may have hidden layers. Raise StoreDamaged where the part cannot be read.
    """
    every = list(readouts.values())
    parameters = {
        "vectors": [readout.rows.tolist() for readout in every],
        "links": [readout.link for readout in every],
        "biases": [float(readout.bias[0]) for readout in every],
        "positives": [readout.positives for readout in every],
    }
    try:
        connection.read_parquet([location.duckdb_path(name)]).create_view("part", replace=True)
        found = connection.sql(load("scoring/score_part"), params=parameters).to_arrow_table()
    except duckdb.Error as error:
        raise damaged(location, name, error) from error
    lists = found["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return _table(found.select(_IDENTITY), readouts, lists.reshape(found.num_rows, len(readouts)))


def as_matrix(location: Location, name: str, readouts: Mapping[str, Readout]) -> pa.Table:
    """Return the same by matrix products, with one row group of embeddings in memory at a time."""
    stack = _Stack.of(readouts)
    columns = [*_IDENTITY, "status", *(["embedding"] if readouts else [])]
    rows, scores = [], [np.empty((0, len(readouts)), np.float32)]
    with _opened(location, name) as parquet:
        for number in range(parquet.num_row_groups):
            group = _embedded(parquet.read_row_group(number, columns, use_threads=False))
            rows.append(group.select(_IDENTITY))
            if readouts:
                scores += [stack.scores(block) for block in _blocks(group["embedding"], stack.dim)]
        rows.append(parquet.schema_arrow.empty_table().select(_IDENTITY))
    return _table(pa.concat_tables(rows), readouts, np.concatenate(scores))


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Give THREADS threads, in which BLAS starts none of its own: those would wait by spinning, at a core each."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS, "score") as pool:
        yield pool


@dataclass(frozen=True, eq=False)
class _Stack:
    """All vectors of several readouts, so that one product serves them all."""

    readouts: tuple[Readout, ...]
    rows: _Matrix  # (R, D), R that of all together
    bias: _Matrix  # (R,)

    @classmethod
    def of(cls, readouts: Mapping[str, Readout]) -> "_Stack":
        every = tuple(readouts.values())
        rows = [readout.rows for readout in every] or [np.empty((0, 0), np.float32)]
        return cls(every, np.concatenate(rows), np.concatenate([np.empty(0, np.float32), *(r.bias for r in every)]))

    @property
    def dim(self) -> int:
        return int(self.rows.shape[1])

    def scores(self, embeddings: npt.NDArray[np.float16]) -> _Matrix:
        """Return (N, readouts) scores of (N, D) embeddings."""
        products = embeddings.astype(np.float32) @ self.rows.T + self.bias
        ends = np.cumsum([len(readout.rows) for readout in self.readouts])
        parts = np.split(products, ends[:-1], axis=1)
        return np.stack([r.finish(part) for r, part in zip(self.readouts, parts, strict=True)], axis=1)


@contextmanager
def _opened(location: Location, name: str) -> Iterator[pq.ParquetFile]:
    try:
        with location.open(name) as file:
            yield pq.ParquetFile(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, _NoMatrix) as error:
        raise damaged(location, name, error) from error


class _NoMatrix(Exception):
    """Embeddings that are not there, or of another length than the encoder's."""


def _embedded(group: pa.Table) -> pa.Table:
    """Return the rows that have an embedding; whole, not copied, where that is all of them."""
    embedded = pc.equal(group["status"], str(Status.EMBEDDED))
    return group if pc.all(embedded).as_py() else group.filter(embedded)


def _blocks(column: pa.ChunkedArray, dim: int) -> Iterator[npt.NDArray[np.float16]]:
    """Yield (n, D) views of an embedding column, n at most _BLOCK_ROWS."""
    if column.null_count or not (pa.types.is_fixed_size_list(column.type) and column.type.list_size == dim):
        raise _NoMatrix(f"its embeddings are not all lists of {dim} numbers")
    for chunk in column.chunks:
        matrix = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        for start in range(0, len(matrix), _BLOCK_ROWS):
            yield matrix[start : start + _BLOCK_ROWS]


def _table(identity: pa.Table, readouts: Mapping[str, Readout], scores: _Matrix) -> pa.Table:
    columns = [pa.array(np.ascontiguousarray(scores[:, k])) for k in range(len(readouts))]
    return pa.table([*identity.columns, *columns], names=[*_IDENTITY, *readouts])
