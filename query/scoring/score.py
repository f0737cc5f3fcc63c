"""Scores of every part that lacks them, one dot product per image and concept, in DuckDB."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from query.connection import connect
from query.scoring.concepts import Concept, shipped_concepts
from query.scoring.score_sets import ScoreSet, image_parts, read_sets, remove_set, set_of, write_set
from sql import load
from store.encoder import Encoder
from store.errors import LocationError, StoreDamaged
from store.layout import EncoderStore
from store.parts import damaged, parquet_bytes
from store.prompts import add_prompts, read_prompts
from store.schema import scores_schema

Vector = npt.NDArray[np.float32]


class TextTower(Protocol):
    """Turns texts into vectors; handed in by the front door, since this room loads no torch."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return (N, D) float32, rows L2-normalised."""


TextTowerOf = Callable[[Encoder], TextTower]


@dataclass(frozen=True)
class ScoreReport:
    """What scoring did."""

    encoder_id: str
    concepts: tuple[str, ...]  # every concept that the store now has scores of
    parts: int
    parts_scored: int  # by this call; the others had their scores already
    prompts_encoded: int


def concepts_of(store: EncoderStore) -> dict[str, Concept]:
    """Return the concepts that a store has scores of, in the wording asked for last, by name."""
    oldest_first = sorted(read_sets(store), key=lambda scored: scored.created_at)
    return {concept.name: concept for scored in oldest_first for concept in scored.concepts}


def score(
    store: EncoderStore,
    wanted: Sequence[Concept],
    text_tower_of: TextTowerOf,
    on_part: Callable[[int, int], None] = lambda _done, _all: None,
) -> ScoreReport:
    """Score the wanted concepts and keep the others that the store has up to date; where none is named, all shipped.

    A concept whose prompts have changed is scored anew. `on_part` is told how many parts of how many are done.
    """
    held = concepts_of(store)
    concepts = {**held, **{c.name: c for c in wanted}}
    if not wanted:
        concepts = {**shipped_concepts(), **held}
    target = set_of(list(concepts.values()))
    sets = read_sets(store)
    parts = image_parts(store)
    held_already = next((s for s in sets if s.set_id == target.set_id), None)
    if held_already is None or held_already.concepts != target.concepts:
        write_set(store, target)
    missing = [part for part in parts if held_already is None or part not in held_already.parts]
    vectors, encoded = _vectors(store, target.concepts, text_tower_of) if missing else ({}, 0)
    with connect(store.location) as connection:
        scorer = _Scorer(connection, store, target, sets, vectors)
        for number, part in enumerate(missing, 1):
            store.location.write(target.file(part), parquet_bytes(scorer.scores(part)))
            on_part(number, len(missing))
    for old in sets:
        if old.set_id != target.set_id and set(old.names) <= set(target.names):
            remove_set(store, old)
    return ScoreReport(store.encoder.encoder_id, target.names, len(parts), len(missing), encoded)


def _vectors(
    store: EncoderStore, concepts: Iterable[Concept], text_tower_of: TextTowerOf
) -> tuple[dict[str, Vector], int]:
    """Return the vectors of all prompts, and how many had to be encoded for it."""
    cached = read_prompts(store)
    missing = sorted({text for concept in concepts for text in concept.prompts} - cached.keys())
    if missing:
        vectors = text_tower_of(store.encoder).encode(missing)
        add_prompts(store, missing, vectors)
        cached.update(zip(missing, vectors, strict=True))
    return cached, len(missing)


@dataclass(frozen=True)
class _Scorer:
    connection: duckdb.DuckDBPyConnection
    store: EncoderStore
    target: ScoreSet
    sets: Sequence[ScoreSet]
    vectors: Mapping[str, Vector]

    def scores(self, part: str) -> pa.Table:
        """Return the scores of one part: columns that another set holds are taken over, the others computed.

        Where another set cannot be read, as when a second process has just replaced it, everything is computed.
        """
        try:
            return self._joined(part, [s for s in self.sets if part in s.parts])
        except (StoreDamaged, LocationError):
            return self._joined(part, [])

    def _joined(self, part: str, held: Sequence[ScoreSet]) -> pa.Table:
        taken = {c.name: s for s in held for c in self.target.concepts if s.hash_of(c.name) == c.content_hash}
        table = self.connection.from_arrow(
            self._computed(part, [c for c in self.target.concepts if c.name not in taken])
        )
        for old in {s.set_id: s for s in taken.values()}.values():
            names = [name for name, s in taken.items() if s.set_id == old.set_id]
            columns = self._fetched(old.file(part), self._read(old.file(part)).select("image_id", "run_id", *names))
            table = table.join(self.connection.from_arrow(columns), "image_id, run_id")
        schema = scores_schema(self.target.names)
        return table.select(*schema.names).order("uri").to_arrow_table().cast(schema)

    def _computed(self, part: str, concepts: Sequence[Concept]) -> pa.Table:
        """Return image_id, run_id, uri and one column for each of these concepts."""
        name = f"images/{part}.parquet"
        self._read(name).create_view("part", replace=True)
        weights = [c.weight(self.vectors, self.store.encoder.logit_scale).tolist() for c in concepts]
        scored = self.connection.sql(load("scoring/score_part"), params={"weights": weights})
        return _columns(self._fetched(name, scored), concepts)

    def _read(self, name: str) -> duckdb.DuckDBPyRelation:
        try:
            return self.connection.read_parquet([self.store.location.duckdb_path(name)])
        except duckdb.Error as error:
            raise damaged(self.store.location, name, error) from error

    def _fetched(self, name: str, rows: duckdb.DuckDBPyRelation) -> pa.Table:
        """Return the rows of a relation over one file; a damaged page is met only here."""
        try:
            return rows.to_arrow_table()
        except duckdb.Error as error:
            raise damaged(self.store.location, name, error) from error


def _columns(table: pa.Table, concepts: Sequence[Concept]) -> pa.Table:
    """Return the rows with their list of scores turned into one column per concept."""
    lists = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    scores = lists.reshape(table.num_rows, len(concepts))
    table = table.drop_columns(["scores"])
    for k, concept in enumerate(concepts):
        table = table.append_column(concept.name, pa.array(scores[:, k], pa.float32()))
    return table
