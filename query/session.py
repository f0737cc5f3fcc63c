"""An opened store: everything that can be asked of it, without torch. What a command does, a notebook does too."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from query.deliver.export import Run, write_run
from query.opened import Opened
from query.readonly import run_readonly
from query.rules.rule import check_rule, decide, not_scored_fully, parse_rule, require_scores
from query.rules.sweep import STEPS, sweep
from query.scoring.concepts import find_concepts, shipped_concepts
from query.scoring.score import ScoreReport, TextTowerOf, concepts_of, score
from query.scoring.score_sets import ScoreSet, image_parts, read_sets
from query.status import Status, read_status
from sql import load, names
from store.encoder import Encoder
from store.errors import NotScored, StoreDamaged, UnknownName
from store.layout import EncoderStore, Store, locate
from store.s3 import S3Options
from store.verify import VerifyReport, verify


class Session:
    """One encoder of a store, opened for questions. Every call sees the store as it is at that moment."""

    def __init__(self, store: EncoderStore, text_tower_of: TextTowerOf, s3: S3Options) -> None:
        """Use `clipsieve.open`."""
        self._store, self._text_tower_of, self._s3 = store, text_tower_of, s3
        self._warm: Opened | None = None

    @classmethod
    def open(
        cls,
        place: str,
        text_tower_of: TextTowerOf,
        encoder: str | None = None,
        s3: S3Options = S3Options(),  # noqa: B008  # frozen
    ) -> "Session":
        """Open the store at a folder or `s3://bucket/prefix`; `encoder` may be left out where the store holds one."""
        return cls(Store.open(locate(place, s3)).encoder(encoder), text_tower_of, s3)

    @property
    def encoder(self) -> Encoder:
        """The encoder whose vectors this session asks."""
        return self._store.encoder

    @property
    def store(self) -> EncoderStore:
        """The store as it is now."""
        return self._store.refreshed()

    def score(self, *concepts: str, on_part: Callable[[int, int], None] = lambda _done, _all: None) -> ScoreReport:
        """Compute missing scores: of these concepts (names or TOML files), or of all where none is named.

        A shipped name means the shipped wording, also where the store holds scores of an older one.
        """
        store = self.store
        known = {**concepts_of(store), **shipped_concepts()}
        return score(store, find_concepts(concepts, known), self._text_tower_of, on_part)

    def sweep(self, concept: str, steps: int = STEPS) -> pa.Table:
        """Return how much each threshold from 0 to 1 removes: threshold, removed, kept, removed_share.

        Raise NotScored where scores are missing, UnknownName for what is no concept.
        """
        store = self.store
        scored = _set_with(read_sets(store), concept)
        parts = image_parts(store)
        if len(scored.parts) < len(parts):
            raise not_scored_fully([concept], scored, parts)
        with self._opened(store, scored) as opened:
            return sweep(opened, concept, steps)

    def threshold(self, concept: str) -> float:
        """Return the threshold that a scored concept suggests."""
        scored = _set_with(read_sets(self.store), concept)
        return next(c.threshold for c in scored.concepts if c.name == concept)

    def sql(self, query: str) -> pa.Table:
        """Return the answer of one read-only query over the documented views; raise QueryRefused for anything else."""
        store = self.store
        with self._opened(store, _fullest(store)) as opened:
            return run_readonly(opened.connection, query)

    def unscored_parts(self) -> int:
        """Return how many parts the view `scores` lacks."""
        store = self.store
        scored = _fullest(store)
        return len(image_parts(store)) - len(scored.parts) if scored else 0

    def export(self, to: str, remove: Sequence[str]) -> Run:
        """Write the manifests of what the rules remove and keep to `to`, a new folder or S3 prefix."""
        store = self.store
        scored = _fullest(store)
        with self._opened(store, scored) as opened:
            rules = [parse_rule(opened.connection, text) for text in remove]
            for rule in rules:
                check_rule(opened.connection, rule, opened.columns, list(shipped_concepts()))
            require_scores(rules, scored, image_parts(store))
            decide(opened.connection, rules)
            return write_run(opened.connection, store, scored, rules, locate(to, self._s3))

    def status(self) -> Status:
        """Return what is in the store."""
        store = self.store
        scored = _fullest(store)
        with self._opened(store, scored) as opened:
            return read_status(opened.connection, store, scored)

    def verify(self) -> VerifyReport:
        """Read everything and return every fault that is found; see `store.verify` and `sql/checks`."""
        store = self.store
        report = verify(store)
        if report.unreadable:
            return report
        with self._opened(store, _fullest(store)) as opened:
            return report.with_faults(
                f"{name.removeprefix('checks/')}: {rows:,} rows"
                for name in names("checks")
                if (rows := _count(opened.connection, name))
            )

    @contextmanager
    def _opened(self, store: EncoderStore, scored: ScoreSet | None) -> Iterator[Opened]:
        """Open the store as this listing of it shows it, or take what is open where nothing has changed since."""
        try:
            yield self._warmed(store, scored)
        except duckdb.Error as error:
            raise StoreDamaged(
                f"The store cannot be read: {' '.join(str(error).split())[:200]}.",
                do="Run `clipsieve verify STORE`, which reads every file by itself.",
            ) from error

    def _warmed(self, store: EncoderStore, scored: ScoreSet | None) -> Opened:
        warm = self._warm
        if warm is not None and (warm.store.names, warm.scored) == (store.names, scored):
            return warm
        self.close()
        self._warm = Opened.open(store, scored)
        return self._warm

    def close(self) -> None:
        """Let go of what is kept in memory; the next question opens the store again."""
        if self._warm is not None:
            self._warm.connection.close()
            self._warm = None


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return len(connection.sql(load(name)).fetchall())


def _fullest(store: EncoderStore) -> ScoreSet | None:
    return next(iter(read_sets(store)), None)


def _set_with(sets: Sequence[ScoreSet], concept: str) -> ScoreSet:
    for scored in sets:
        if concept in scored.names:
            return scored
    scored_names = sorted({name for scored in sets for name in scored.names})
    if concept in shipped_concepts():
        raise NotScored(f"{concept} has no scores yet.", do=f"Run `clipsieve score STORE {concept}`.")
    nearest = difflib.get_close_matches(concept, {*scored_names, *shipped_concepts()}, 1, 0)
    raise UnknownName(
        f"There are no scores of {concept!r} in this store.",
        do=f"Scored: {', '.join(scored_names) or 'nothing yet'}." + (f" Nearest: {nearest[0]}." if nearest else ""),
    )
