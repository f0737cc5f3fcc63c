"""Which images a second look is for: those whose score lies between two thresholds."""

import duckdb
import pyarrow as pa

from query.opened import Opened
from sql import load
from store.errors import UsageError


def band(opened: Opened, concept: str, low: float, high: float) -> pa.Table:
    """Return the images with `low <= score <= high`, nearest to the middle first, as sql/rules/band.sql lists them.

    `concept` is a column of the view `scores`. Raise UsageError where no score could lie there.
    """
    if not low <= high:
        raise UsageError(
            f"No score lies between {low:g} and {high:g}.", do="Give the lower end first, such as 0.35 0.65."
        )
    columns = [duckdb.ColumnExpression("image_id"), duckdb.ColumnExpression(concept).alias("score")]
    opened.connection.table("scores").select(*columns).create_view("one_score", replace=True)
    return opened.connection.sql(load("rules/band"), params={"low": low, "high": high}).to_arrow_table()
