"""How much a threshold removes, for every threshold at once, from cached scores alone."""

import duckdb
import pyarrow as pa

from sql import load

STEPS = 100


def sweep(connection: duckdb.DuckDBPyConnection, concept: str, steps: int = STEPS) -> pa.Table:
    """Return one row per threshold from 0 to 1: threshold, removed, kept, removed_share; `score >= threshold` removes.

    `concept` is a column of the view `scores`.
    """
    connection.table("scores").select(duckdb.ColumnExpression(concept).alias("score")).create_view(
        "scored", replace=True
    )
    return connection.sql(load("rules/sweep"), params={"steps": steps}).to_arrow_table()
