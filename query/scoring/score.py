"""Scores of every part that lacks them: many concepts in one pass over the embeddings, part by part."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from query.connection import connect
from query.scoring.compute import THREADS, as_matrix, few, in_sql, workers
from query.scoring.concepts import find_concepts, read_file, shipped_concepts
from query.scoring.heads.known import HEADS, brought, head_for, heads_for
from query.scoring.inputs import TextTowerOf, readouts_of, refuse_other_encoder
from query.scoring.kinds import SHIPPED, Concept, Head, scale_of
from query.scoring.readout import Readout
from query.scoring.score_sets import ScoreSet, image_parts, read_sets, remove_set, set_of, write_set
from store.encoder import Encoder
from store.errors import LocationError, StoreDamaged, UsageError
from store.layout import EncoderStore
from store.parts import damaged, parquet_bytes
from store.schema import scores_schema


@dataclass(frozen=True)
class ScoreReport:
    """What scoring did."""

    encoder_id: str
    concepts: tuple[str, ...]  # every concept that the store now has scores of
    scales: tuple[str, ...]  # of each, as "rating, 1 to 10"
    parts: int
    parts_scored: int  # by this call; the others had their scores already
    prompts_encoded: int


def concepts_of(store: EncoderStore) -> dict[str, Concept]:
    """Return the concepts that a store has scores of, in the wording asked for last, by name."""
    oldest_first = sorted(read_sets(store), key=lambda scored: scored.created_at)
    return {concept.name: concept for scored in oldest_first for concept in scored.concepts}


def known_concepts(store: EncoderStore) -> dict[str, Concept]:
    """Return every concept that goes by its name alone: those that come along or fit the encoder, and those scored."""
    return {**concepts_of(store), **shipped_concepts(), **heads_for(store.encoder)}


def wanted_concepts(store: EncoderStore, words: Sequence[str], from_file: str | None = None) -> list[Concept]:
    """Return the concepts that the words of `score` mean: names or TOML files; `from_file` holds a head's weights.

    A shipped name means the shipped wording, also where the store holds scores of an older one.
    """
    known = known_concepts(store)
    for word in words:
        if word in HEADS and word not in known:
            head_for(word, store.encoder)  # raises, and says which towers it is for
    found = find_concepts(words, known)
    if from_file is None:
        return found
    match found:
        case [Head(name=name) as head] if name in HEADS:
            return [replace(head, layers=brought(head, Path(from_file).expanduser()))]
    raise UsageError(
        "--from brings the weights of one head.",
        do=f"Name it, and nothing else: {', '.join(HEADS)}. Weights of your own go into a concept file.",
    )


def as_it_is_now(concept: Concept, encoder: Encoder) -> Concept:
    """Return what a scored concept is today: of its file, or of the shipped ones; itself where neither is found.

    Raise UsageError where its file is there and cannot be understood.
    """
    if concept.origin == SHIPPED:
        return {**heads_for(encoder), **shipped_concepts()}.get(concept.name, concept)
    if not concept.origin or not Path(concept.origin).is_file():
        return concept
    return next((c for c in read_file(Path(concept.origin)) if c.name == concept.name), concept)


def score(
    store: EncoderStore,
    wanted: Sequence[Concept],
    text_tower_of: TextTowerOf,
    on_part: Callable[[int, int], None] = lambda _done, _all: None,
) -> ScoreReport:
    """Score the wanted concepts and keep the others that the store has up to date; where none is named, all shipped.

    A concept that has changed is scored anew. `on_part` is told how many parts of how many are done.
    """
    target = set_of(list(_asked(store, wanted).values()))
    for concept in target.concepts:
        refuse_other_encoder(concept, store.encoder)
    sets = read_sets(store)
    parts = image_parts(store)
    held_already = next((s for s in sets if s.set_id == target.set_id), None)
    missing = [part for part in parts if held_already is None or part not in held_already.parts]
    readouts, encoded = readouts_of(store, target.concepts, text_tower_of) if missing else ({}, 0)
    if held_already is None or held_already.concepts != target.concepts:
        write_set(store, target)
    with connect(store.location) as connection, workers() as pool:
        scorer = _Scorer(connection, pool, store, target, sets, readouts)
        for number, (part, table) in enumerate(scorer.each(missing), 1):
            store.location.write(target.file(part), parquet_bytes(table))
            on_part(number, len(missing))
    for old in sets:
        if old.set_id != target.set_id and set(old.names) <= set(target.names):
            remove_set(store, old)
    scales = tuple(scale_of(concept) for concept in target.concepts)
    return ScoreReport(store.encoder.encoder_id, target.names, scales, len(parts), len(missing), encoded)


def _asked(store: EncoderStore, wanted: Sequence[Concept]) -> dict[str, Concept]:
    """Return the concepts that the store is to have scores of, by name."""
    held = concepts_of(store)
    if wanted:
        return {**held, **{c.name: c for c in wanted}}
    return {**shipped_concepts(), **{name: as_it_is_now(c, store.encoder) for name, c in held.items()}}


@dataclass(frozen=True)
class _Scorer:
    connection: duckdb.DuckDBPyConnection
    pool: ThreadPoolExecutor
    store: EncoderStore
    target: ScoreSet
    sets: Sequence[ScoreSet]
    readouts: Mapping[str, Readout]

    def each(self, parts: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield the parts with their scores, in order; the next ones are computed meanwhile, where threads do that."""
        ahead: deque[tuple[str, Callable[[], pa.Table]]] = deque()
        for part in parts:
            ahead.append((part, self._started(part, self._taken(part))))
            if len(ahead) > THREADS:
                yield self._finished(*ahead.popleft())
        while ahead:
            yield self._finished(*ahead.popleft())

    def _taken(self, part: str) -> dict[str, ScoreSet]:
        """Return which columns of a part another set holds, and which set."""
        held = [s for s in self.sets if part in s.parts]
        return {c.name: s for s in held for c in self.target.concepts if s.hash_of(c.name) == c.content_hash}

    def _started(self, part: str, taken: Mapping[str, ScoreSet]) -> Callable[[], pa.Table]:
        """Begin to compute the columns of a part that are not taken over; return what gives them."""
        readouts = {name: readout for name, readout in self.readouts.items() if name not in taken}
        location, name = self.store.location, f"images/{part}.parquet"
        if few(readouts):
            return partial(in_sql, self.connection, location, name, readouts)
        return self.pool.submit(as_matrix, location, name, readouts).result

    def _finished(self, part: str, computed: Callable[[], pa.Table]) -> tuple[str, pa.Table]:
        """Return the scores of a part: columns that another set holds are taken over, the others computed.

        Where another set cannot be read, as when a second process has just replaced it, everything is computed.
        """
        try:
            return part, self._joined(part, computed(), self._taken(part))
        except (StoreDamaged, LocationError):
            return part, self._joined(part, self._started(part, {})(), {})

    def _joined(self, part: str, computed: pa.Table, taken: Mapping[str, ScoreSet]) -> pa.Table:
        schema = scores_schema(self.target.names)
        table = self.connection.from_arrow(computed)
        for old in {s.set_id: s for s in taken.values()}.values():
            names = [name for name, s in taken.items() if s.set_id == old.set_id]
            columns = self.connection.from_arrow(self._read(old.file(part), ["image_id", "run_id", *names]))
            table = table.join(columns, "image_id, run_id")
        return table.select(*schema.names).order("uri").to_arrow_table().cast(schema)

    def _read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Return columns of a file of scores; a damaged page is met only here."""
        try:
            return (
                self.connection.read_parquet([self.store.location.duckdb_path(name)]).select(*columns).to_arrow_table()
            )
        except duckdb.Error as error:
            raise damaged(self.store.location, name, error) from error
