"""The images nearest to each threshold: where to look before a threshold is trusted."""

import duckdb
import pyarrow as pa

from query.rules.asked import Asked
from query.rules.policies.condition import Comparison, Condition, quoted
from query.rules.policies.kinds import Rule
from sql import load

_NEAR = pa.schema(
    {
        "number": pa.int32(),
        "rule": pa.string(),
        "comparison": pa.string(),
        "place": pa.int32(),
        "holds": pa.bool_(),
        "score": pa.float64(),
        "distance": pa.float64(),
        "image_id": pa.uuid(),
    }
)
_NAMED = (
    _NEAR.remove(_NEAR.get_field_index("image_id"))
    .remove(_NEAR.get_field_index("place"))
    .append(pa.field("uri", pa.string()))
)


def nearest(asked: Asked, images: int) -> pa.Table:
    """Return so many images on either side of each threshold of a rule: those for which the comparison decides.

    Columns: number, rule, comparison, holds, score, distance, uri. Of `people >= 0.5 and mask >= 0.7`, an image near
    0.7 is one with people: without, its mask changes nothing.
    """
    rows: list[dict[str, object]] = []
    if not images:
        return _NAMED.empty_table()
    for number, rule in asked.rules:
        compared = [(one, comparison) for one in rule.about for comparison in one.comparisons]
        for place, (condition, comparison) in enumerate(compared):
            what = {"number": number, "rule": rule.name, "comparison": str(comparison), "place": place}
            rows += [{**what, **row} for row in _around(asked, rule, condition, comparison, images)]
    asked.connection.from_arrow(pa.Table.from_pylist(rows, _NEAR)).create_view("near", replace=True)
    named: pa.Table = asked.connection.sql(load("rules/named")).to_arrow_table().cast(_NAMED)
    return named


def _around(
    asked: Asked, rule: Rule, condition: Condition, comparison: Comparison, images: int
) -> list[dict[str, object]]:
    column = quoted(comparison.column)
    spared = f"{rule.unless.sql} is not true" if rule.unless else "true"
    given = {"threshold": float(comparison.threshold), "images": images}
    # Turned round, a condition may be no SQL any more, or meet values that it was to be spared: then all images count.
    for decides in (condition.hinges_on(comparison), "true"):
        query = f"select image_id, {column} as score, {comparison.sql(column)} as holds from {asked.source}"  # noqa: S608
        try:
            asked.connection.execute(f"create or replace temp view compared as {query} where {decides} and {spared}")
            found = asked.connection.sql(load("rules/nearest"), params=given).to_arrow_table()
        except (duckdb.DataError, duckdb.ProgrammingError):
            continue
        rows: list[dict[str, object]] = found.to_pylist()
        return rows
    return []
