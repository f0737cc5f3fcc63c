"""An import read block by block: rows of metadata and their vectors, in the order of the files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from embed.vectors.reading.arrays import Matrix
from embed.vectors.reading.layouts import Found, Pair
from embed.vectors.reading.rows import Naming, contents_of
from embed.vectors.request import OnRows

BLOCK_ROWS = 8_192
"""Rows in hand at once: 16 MB of float32 at D = 512."""


@dataclass(frozen=True)
class Block:
    """Some rows of a pair: what they say, (N, D) float32 as the file holds them, and 16 bytes that stand for each."""

    pair: Pair
    start: int  # the first one's number in the pair
    batch: pa.Table
    vectors: Matrix
    contents: Sequence[bytes]

    def where(self, row: int) -> str:
        """Return what messages call a row of the block."""
        return self.pair.row(self.start + row)


@dataclass(frozen=True)
class Import:
    """What is imported: everything that lies there, and how its rows are named."""

    found: Found
    naming: Naming
    normalize: bool
    keep_first: bool
    part_rows: int
    on_rows: OnRows

    def blocks(self, stage: str) -> Iterator[Block]:
        """Read everything once, and tell how far it is."""
        done = 0
        for block in _blocks(self.found.pairs, self.naming.columns.wanted, min(BLOCK_ROWS, self.part_rows)):
            yield block
            done += block.batch.num_rows
            self.on_rows(stage, done, self.found.rows)

    def objects(self, block: Block) -> pa.Table:
        """Return the columns of `images` that are known of the rows of a block."""
        return self.naming.objects(block.batch, block.contents, block.where)


def _blocks(pairs: Sequence[Pair], columns: Sequence[str], rows: int) -> Iterator[Block]:
    for pair in pairs:
        start = 0
        with pair.vectors.opened() as read:
            for batch in pair.metadata.batches(columns, rows):
                vectors = read(batch.num_rows)
                yield Block(pair, start, batch, vectors, contents_of(vectors))
                start += batch.num_rows
