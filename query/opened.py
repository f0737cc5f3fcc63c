"""A store as it was at one moment: a warm DuckDB connection over its views."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import numpy as np

from query.connection import connect
from query.rules.thresholds import Scores
from query.scoring.score_sets import ScoreSet, image_parts
from query.views import create_views
from sql import load
from store.layout import EncoderStore

_NOT_TO_HOLD = {"embedding"}
"""A vector takes 2 KB as FLOAT[]: no laptop holds ten million."""


@dataclass
class Opened:
    """A connection with the views of docs/store.md, what it was opened over, and the scores that it shows."""

    connection: duckdb.DuckDBPyConnection
    store: EncoderStore
    scored: ScoreSet | None
    _held: set[str] = field(default_factory=set)
    _sorted: dict[str, Scores] = field(default_factory=dict)

    @classmethod
    def open(cls, store: EncoderStore, scored: ScoreSet | None) -> "Opened":
        """Open a connection, which the caller closes, and create the views."""
        connection = connect(store.location)
        try:
            create_views(connection, store, scored)
            connection.execute(load("rules/candidates"))
        except BaseException:
            connection.close()
            raise
        return cls(connection, store, scored)

    @cached_property
    def columns(self) -> list[str]:
        """Return what a rule may ask about: the columns of the view `candidates`."""
        return self.connection.table("candidates").columns

    def hold(self, columns: Collection[str]) -> None:
        """See that the table `held` has these columns of `candidates`, and `image_id`.

        It has one row per embedded image of the newest listings, is filled once and lies in memory, so asking it again
        costs no file and no join.
        """
        wanted = {"image_id", *columns}
        if wanted <= self._held:
            return
        wanted |= self._held
        names = ", ".join(f'"{name}"' for name in self.columns if name in wanted)
        query = f"select {names} from {self._least_view(wanted)}"  # noqa: S608
        self.connection.execute(f"create or replace temp table held as {query}")
        self._held = wanted

    def candidates_with(self, words: Collection[str]) -> str:
        """Return what to read FROM to ask about `candidates`: `held`, with every column that a word names.

        Vectors are never held: a question that names them is answered from the files.
        """
        names = {name for name in self.columns if name.lower() in {word.lower() for word in words}}
        if names & _NOT_TO_HOLD:
            return "candidates"
        self.hold(names)
        return "held as candidates"

    def sorted_scores(self, concept: str) -> Scores:
        """Return a concept's scores of every embedded image of the newest listings, (N,) float32 ascending; kept.

        One column is read from where it lies: a table of it would be read once.
        """
        if concept not in self._sorted:
            source = "held" if concept in self._held else self._least_view({concept})
            self._sorted[concept] = sorted_column(self.connection.table(source), concept)
        return self._sorted[concept]

    @cached_property
    def images(self) -> int:
        """Return how many embedded images the newest listings have."""
        for scores in self._sorted.values():
            return len(scores)
        self.hold([])
        return len(self.connection.table("held"))

    @cached_property
    def listed(self) -> int:
        """Return how many objects the sources hold, whatever became of them."""
        ((objects,),) = self.connection.execute(load("rules/listed_objects")).fetchall()
        return int(objects)

    @cached_property
    def no_longer_listed(self) -> int:
        """Return how many scored images count no longer, because they were deleted or replaced at their source."""
        query = load("rules/no_longer_listed")
        ((gone,),) = self.connection.execute(query, {"images": self.images}).fetchall()
        return int(gone)

    def _least_view(self, wanted: Collection[str]) -> str:
        """Return the view with these columns that costs the least; where all is scored, `scores` has every row."""
        scored = self.scored
        if scored is None or len(scored.parts) < len(image_parts(self.store)):
            return "candidates"
        return "scores" if set(wanted) <= {"image_id", *scored.names} else "candidates"


def sorted_column(rows: duckdb.DuckDBPyRelation, name: str) -> Scores:
    """Return a FLOAT column without nulls, (N,) float32 in ascending order, NaN last."""
    return np.sort(rows.project(f'"{name}"').to_arrow_table()[name].to_numpy())
