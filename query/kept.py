"""A store that is opened for questions, and stays open until something in it has changed."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb

from query.opened import Opened
from query.rules.policies.condition import not_scored_fully
from query.scoring.concepts import shipped_names
from query.scoring.score_sets import ScoreSet, image_parts, read_sets
from store.errors import NotScored, StoreDamaged, UnknownName
from store.layout import EncoderStore


class Kept:
    """What a session keeps in memory between two questions. Every question sees the store as it is at that moment."""

    def __init__(self, store: EncoderStore) -> None:
        """Open nothing yet."""
        self._store, self.encoder = store, store.encoder
        self._warm: Opened | None = None

    @property
    def store(self) -> EncoderStore:
        """The store as it is now."""
        return self._store.refreshed()

    @contextmanager
    def now(self) -> Iterator[Opened]:
        """Open the store as it is now, with the scores that most parts have."""
        store = self.store
        with self._opened(store, fullest(store)) as opened:
            yield opened

    @contextmanager
    def scored(self, *concepts: str) -> Iterator[tuple[Opened, ScoreSet]]:
        """Open the store as it is now, with a set that has scores of all these concepts for every part.

        Raise NotScored where scores are missing, UnknownName for what is no concept.
        """
        store = self.store
        scored, parts = set_with(read_sets(store), *concepts), image_parts(store)
        if len(scored.parts) < len(parts):
            raise not_scored_fully(concepts, scored, parts)
        with self._opened(store, scored) as opened:
            yield opened, scored

    def close(self) -> None:
        """Let go of what is kept in memory; the next question opens the store again."""
        if self._warm is not None:
            self._warm.connection.close()
            self._warm = None

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


def fullest(store: EncoderStore) -> ScoreSet | None:
    """Return the scores that most parts have, None where there are none."""
    return next(iter(read_sets(store)), None)


def set_with(sets: Sequence[ScoreSet], *concepts: str) -> ScoreSet:
    """Return the fullest set that has scores of all these concepts."""
    for scored in sets:
        if {*concepts} <= {*scored.names}:
            return scored
    scored_names = sorted({name for scored in sets for name in scored.names})
    missing = [concept for concept in concepts if concept not in scored_names]
    unknown = [concept for concept in missing if concept not in shipped_names()]
    if not unknown:
        what = (
            f"{missing[0]} has no scores yet." if missing else f"{' and '.join(concepts)} were never scored together."
        )
        raise NotScored(what, do=f"Run `clipsieve score STORE {' '.join(missing or concepts)}`.")
    nearest = difflib.get_close_matches(unknown[0], {*scored_names, *shipped_names()}, 1, 0)
    raise UnknownName(
        f"There are no scores of {unknown[0]!r} in this store.",
        do=f"Scored: {', '.join(scored_names) or 'nothing yet'}." + (f" Nearest: {nearest[0]}." if nearest else ""),
    )
