"""A store as it was at one moment: a warm DuckDB connection over its views."""

from collections.abc import Collection
from dataclasses import dataclass, field

import duckdb

from query.connection import connect
from query.scoring.score_sets import ScoreSet
from query.views import create_views
from sql import load
from store.layout import EncoderStore


@dataclass
class Opened:
    """A connection with the views of docs/store.md, what it was opened over, and the scores that it shows."""

    connection: duckdb.DuckDBPyConnection
    store: EncoderStore
    scored: ScoreSet | None
    _held: set[str] = field(default_factory=set)

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

    @property
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
        self.connection.execute(f"create or replace temp table held as select {names} from candidates")  # noqa: S608
        self._held = wanted
