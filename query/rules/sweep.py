"""How much a threshold removes, for every threshold at once, from cached scores alone."""

import duckdb
import pyarrow as pa

from query.opened import Opened
from sql import load

STEPS = 100


def sweep(opened: Opened, concept: str, steps: int = STEPS) -> pa.Table:
    """Return one row per threshold from 0 to 1: threshold, removed, kept, removed_share; `score >= threshold` removes.

    `concept` is a column of the view `scores`.
    """
    opened.hold([concept])
    held = opened.connection.table("held").select(duckdb.ColumnExpression(concept).alias("score"))
    held.create_view("scored", replace=True)
    return opened.connection.sql(load("rules/sweep"), params={"steps": steps}).to_arrow_table()
