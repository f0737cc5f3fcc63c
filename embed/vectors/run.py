"""Vectors from elsewhere into a store: everything is checked before the first byte is written.

headers     every pair has as many vectors as rows, and all of them one dimension
first pass  every vector finite and of length 1, every image named once; the listing is gathered beside it
store       the encoder, then the listing, so that what is not written yet counts as pending
second pass what the store lacks, in parts; a part is whole or absent, so the same command goes on after a kill
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from embed.vectors.captions import captions
from embed.vectors.check import Checked, check
from embed.vectors.lengths import unit
from embed.vectors.reading.blocks import Import
from embed.vectors.reading.layouts import Choice, Found, find
from embed.vectors.reading.rows import Naming, choose_columns, source_uri
from embed.vectors.request import ImportRequest, ImportSummary, OnRows, quietly
from embed.vectors.target import Named, choose, parse_words
from store.layout import EncoderStore, Store, locate, new_run_id
from store.listings import ListingWriter
from store.parts import parquet_bytes
from store.prompts import add_prompts
from store.schema import embedded_table


def run(request: ImportRequest, on_rows: OnRows = quietly) -> ImportSummary:
    """Bring vectors from elsewhere into a store; raise a ClipsieveError, with nothing written, where a check fails."""
    model_name, pretrained = parse_words(request.encoder)
    named = Named(model_name, pretrained, request.logit_scale, request.join, request.second_encoder)
    path = Path(request.path).expanduser().absolute()
    found = find(path, Choice(model_name, request.metadata, request.array, request.dim or named.usual_dim))
    location = locate(request.store, request.s3)
    target = choose(location, named, found.dim)
    run_id = new_run_id(target.newest_run())
    work = _work(request, found, source_uri(request.source, str(path)), on_rows)
    with ListingWriter(target, work.naming.source, run_id) as listing:
        checked = check(work, target, listing, run_id)
        prompts = captions(request, found, target)
        Store.create(location).add_encoder(target.encoder)
        target.location.remove_leftovers()
        listing.finish()
    if prompts is not None:
        add_prompts(target, prompts.texts, prompts.vectors)
    _write(work, checked.wanted, _Parts(target, run_id, request.part_rows))
    return _summary(work, target, checked, len(prompts.texts) if prompts else 0)


def _work(request: ImportRequest, found: Found, source: str, on_rows: OnRows) -> Import:
    columns = choose_columns([pair.metadata.columns for pair in found.pairs], request.uri_column)
    naming = Naming(columns, request.uri_prefix, source)
    return Import(found, naming, request.normalize, request.keep_first, request.part_rows, on_rows)


def _write(work: Import, wanted: npt.NDArray[np.bool_], parts: "_Parts") -> None:
    """Write the wanted rows, (N,) bool in the order of the files."""
    if not wanted.any():
        return
    done = 0
    for block in work.blocks("Importing"):
        rows = block.batch.num_rows
        (some,) = np.nonzero(wanted[done : done + rows])
        done += rows
        if len(some):
            vectors = unit(block.vectors[some], block.where, normalize=True).astype(np.float16)
            parts.add(work.objects(block).take(pa.array(some)), vectors)
    parts.flush()


@dataclass
class _Parts:
    """Gathers rows and writes a part when it is full."""

    target: EncoderStore
    run_id: str
    part_rows: int
    _waiting: list[pa.Table] = field(default_factory=list)
    _written: int = 0

    def add(self, objects: pa.Table, vectors: npt.NDArray[np.float16]) -> None:
        """Take rows and their (N, D) float16 vectors of length 1."""
        if sum(table.num_rows for table in self._waiting) + objects.num_rows > self.part_rows:
            self.flush()
        self._waiting.append(embedded_table(objects, vectors, self.run_id, datetime.now(UTC)))

    def flush(self) -> None:
        """Write what is in hand."""
        if self._waiting:
            table = pa.concat_tables(self._waiting).combine_chunks()
            name = f"images/{self.run_id}-{self._written:05d}.parquet"
            self.target.location.write(name, parquet_bytes(table))
            self._written += 1
            self._waiting.clear()


def _summary(work: Import, target: EncoderStore, checked: Checked, captions_cached: int) -> ImportSummary:
    found, columns = work.found, work.naming.columns
    imported = int(checked.wanted.sum())
    return ImportSummary(
        encoder_id=target.encoder.encoder_id,
        caution=target.encoder.caution,
        source=work.naming.source,
        form=found.form,
        vectors=found.rows,
        dim=found.dim,
        dtype=str(found.pairs[0].vectors.dtype),
        uri_column=columns.uri,
        facts=columns.facts,
        left_out=columns.left_out,
        misread=dict(checked.misread),
        repeated=checked.repeated,
        already_done=found.rows - checked.repeated - imported,
        imported=imported,
        dropped=checked.dropped,
        captions=found.texts,
        captions_cached=captions_cached,
    )
