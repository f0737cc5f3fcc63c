"""Conditions: one SQL expression over an image's metadata and scores, true or false of each image; it only asks.

DuckDB parses it. What it compares with a number (`people >= 0.50`) is found in the parse tree, so that a decision can
say which score decided, and at which threshold.
"""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from query.readonly import does_more_than_read, parse
from query.scoring.score_sets import ScoreSet
from store.errors import ClipsieveError, NotScored, QueryRefused, UnknownName, UsageError

_OPERATORS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "!=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
}
_MIRRORED = {"=": "=", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}
_OPPOSITE = {"=": "!=", "!=": "=", ">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_NUMBERS = {"INTEGER", "NUMERIC"}
_BEFORE = "select ("


@dataclass(frozen=True)
class Comparison:
    """A column compared with a number somewhere in a condition."""

    column: str  # in small letters, as SQL compares names
    operator: str
    threshold: str  # the number as it was typed
    span: tuple[int, int]  # the bytes of the condition's text, in UTF-8, that it comes from

    def sql(self, column: str) -> str:
        """Return the comparison of this column, a piece of SQL."""
        return f"{column} {self.operator} {self.threshold}"

    def __str__(self) -> str:
        """Return the comparison as one would type it."""
        return self.sql(self.column)


@dataclass(frozen=True)
class Condition:
    """One SQL expression, as it was typed: a line break may end a comment or stand in a text."""

    text: str
    what: str  # how an error calls it: `p.toml, line 3: the condition 'x > 1'`
    names: frozenset[str]  # every word that may be a column, in small letters
    comparisons: tuple[Comparison, ...]  # in written order

    @property
    def sql(self) -> str:
        """Return the condition as a piece of a query; it was parsed as one expression, so it ends where it ends."""
        return f"({self.text}\n)"

    def hinges_on(self, comparison: Comparison) -> str:
        """Return SQL that is true where the comparison decides: turned round, it would turn the condition."""
        text = self.text.encode()
        start, end = comparison.span
        if text.strip() == text[start:end]:
            return "true"
        turned = [f"({(text[:start] + word + text[end:]).decode()}\n)" for word in (b"(true)", b"(false)")]
        return f"({turned[0]} is distinct from {turned[1]})"


def parse_condition(connection: duckdb.DuckDBPyConnection, text: str, what: str | None = None) -> Condition:
    """Return what an expression says; raise UsageError where it is no single SQL condition."""
    text = text.strip()
    what = what or f"The rule {text!r}"
    if not text:
        raise UsageError(f"{what} is empty.", do="Write a condition, for example 'people >= 0.5'.")
    try:
        nodes = parse(connection, f"{_BEFORE}{text}\n)")
    except QueryRefused as error:
        raise UsageError(f"{what} is no SQL condition: {first_line(error)}.") from error
    if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE" or nodes[0]["from_table"]["type"] != "EMPTY":
        raise UsageError(f"{what} is more than one condition.")
    for more in does_more_than_read(nodes):
        raise UsageError(f"{what} holds {more}; a rule only asks.")
    for name in sorted(_function_names(nodes[0]) & _volatile()):
        raise UsageError(
            f"{what} holds {name}(), which answers anew every time.",
            "The same store and rules must give the same decisions.",
            "For a sample, ask for hash(uri) % 100 < 10.",
        )
    for name in sorted(_function_names(nodes[0], within_subqueries=False) & {"unnest", "unlist"}):
        raise UsageError(f"{what} holds {name}(), which makes several rows of one image, or none.")
    expressions = nodes[0]["select_list"]
    return Condition(text, what, frozenset(_names(nodes[0])), tuple(_comparisons(expressions)))


def check_condition(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: Condition,
    known: Collection[str],
    scorable: Collection[str],
) -> None:
    """Raise where a condition asks for a column that is not there, or is true or false of nothing.

    `source` is what the images are read FROM, `known` its columns, `scorable` the concepts that could be scored.
    """
    kind = kind_of(connection, source, condition, known, scorable)
    if kind not in {"BOOLEAN", "bool"}:
        raise UsageError(
            f"{condition.what} gives a {kind}, not true or false.",
            do="Compare it with a threshold, for example 'people >= 0.5'.",
        )


def kind_of(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    condition: Condition,
    known: Collection[str],
    scorable: Collection[str],
) -> str:
    """Return the SQL type of an expression; raise where it asks for what is not there, or is more than one."""
    try:
        columns = connection.sql(
            f"select image_id, {condition.sql} as answer from {source} limit 0"  # noqa: S608
        ).description
    except duckdb.Error as error:
        _refuse_unknown(condition, known, scorable, error)
        raise UsageError(f"DuckDB rejects {_inside(condition.what)}: {first_line(error)}.") from error
    if len(columns) != len(["image_id", "answer"]):
        raise UsageError(f"{condition.what} is more than one condition.")
    return str(columns[-1][1])


def _refuse_unknown(
    condition: Condition, known: Collection[str], scorable: Collection[str], error: duckdb.Error
) -> None:
    """Raise for a name that is no column and that DuckDB complains of; what it rejects for another reason passes."""
    columns = {column.lower() for column in known}
    unknown = {name for name in condition.names - columns if f'"{name}"' in first_line(error).lower()}
    if unknown & {*scorable}:
        raise not_scored(condition.what, sorted((condition.names - columns) & {*scorable}))
    for name in unknown:
        nearest = difflib.get_close_matches(name, sorted({*columns, *scorable}), 1, 0)
        raise UnknownName(f"{condition.what} asks for {name!r}.", do=f"The nearest column is {nearest[0]!r}.")


def require_scores(conditions: Sequence[Condition], scored: ScoreSet | None, parts: Sequence[str]) -> None:
    """Raise NotScored where a condition asks for a concept that some parts have no scores of."""
    names = set(scored.names) if scored else set()
    asked = sorted(names & set().union(*(condition.names for condition in conditions)))
    if scored and asked and len(scored.parts) < len(parts):
        raise not_scored_fully(asked, scored, parts)


def not_scored(what: str, concepts: Sequence[str]) -> NotScored:
    """Return the error for a question about concepts that could be scored."""
    has = "has" if len(concepts) == 1 else "have"
    return NotScored(
        f"{what} asks for {', '.join(concepts)}, which {has} no scores yet.",
        do=f"Run `clipsieve score STORE {' '.join(concepts)}`.",
    )


def not_scored_fully(concepts: Sequence[str], scored: ScoreSet, parts: Sequence[str]) -> NotScored:
    """Return the error for scores that do not cover every part of images."""
    return NotScored(
        f"{', '.join(concepts)}: scores cover {len(scored.parts)} of {len(parts)} parts of the store.",
        "Images were embedded since; an answer without them would be wrong.",
        "Run `clipsieve score STORE`.",
    )


def cannot_be_applied(what: str, error: duckdb.Error) -> ClipsieveError:
    """Return the error for a condition that fails on some image."""
    return UsageError(
        f"{what} cannot be applied to every image: {first_line(error)}.",
        do="Where a conversion fails, try_cast gives null, and null decides nothing.",
    )


def first_line(error: Exception) -> str:
    """Return what an error says without the query that DuckDB shows below."""
    return str(error).strip().splitlines()[0].removesuffix(".")


def quoted(name: str) -> str:
    """Return a name as SQL reads it, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def _names(node: object) -> Iterator[str]:
    """Yield every word of every column reference below a parsed node: a column, its table, a field of it."""
    if isinstance(node, dict):
        if node.get("class") == "LAMBDA":
            own = set(_names(node["lhs"]))
            yield from (name for name in _names(node["expr"]) if name not in own)
            return
        if node.get("class") == "COLUMN_REF":
            # Of `candidates.people` and `person.name`, one word is the column; which, only DuckDB knows.
            words = [word.lower() for word in node["column_names"]]
            yield from (word for word in words if word != "candidates")
    for value in _below(node):
        yield from _names(value)


def _function_names(node: object, *, within_subqueries: bool = True) -> set[str]:
    names = set()
    if isinstance(node, dict):
        if node.get("class") == "SUBQUERY" and not within_subqueries:
            return set()
        names = {str(node[key]).lower() for key in ("function_name",) if key in node}
    return names.union(*(_function_names(value, within_subqueries=within_subqueries) for value in _below(node)))


@cache
def _volatile() -> frozenset[str]:
    """Return the functions whose answer changes from call to call."""
    functions = "select distinct function_name from duckdb_functions() where stability = 'VOLATILE'"
    with duckdb.connect() as connection:
        return frozenset(name for (name,) in connection.execute(functions).fetchall())


def _comparisons(node: object, negated: bool = False) -> Iterator[Comparison]:  # noqa: FBT001, FBT002  # a recursion
    """Yield what is compared with a number, in written order; a subquery and a lambda speak of other things."""
    if isinstance(node, dict):
        if node.get("class") in {"SUBQUERY", "LAMBDA"}:
            return
        if node.get("class") == "COMPARISON" and node["type"] in _OPERATORS:
            operator = _OPERATORS[node["type"]]
            yield from _comparison(node, ("left", operator, "right"), negated)
            yield from _comparison(node, ("right", _MIRRORED[operator], "left"), negated)
        if node.get("type") == "COMPARE_BETWEEN":
            yield from _comparison(node, ("input", ">=", "lower"), negated)
            yield from _comparison(node, ("input", "<=", "upper"), negated)
        negated ^= node.get("type") == "OPERATOR_NOT"
    for value in _below(node):
        yield from _comparisons(value, negated)


def _comparison(node: dict[str, Any], sides: tuple[str, str, str], negated: bool) -> Iterator[Comparison]:  # noqa: FBT001
    """Yield the comparison of a node whose first side is a column and whose last side is a number."""
    column, operator, number = node[sides[0]], sides[1], node[sides[2]]
    *table, name = column.get("column_names", [""])
    # `person.age` may be a field of a column, which is no column itself.
    if not name or table not in ([], ["candidates"]) or number.get("literal", {}).get("kind") not in _NUMBERS:
        return
    # Of a BETWEEN, DuckDB gives the place of its words; the column stands before them.
    start = min(node["query_location"], column["query_location"])
    end = node["query_location"] + node["query_location_length"]
    span = (start - len(_BEFORE), end - len(_BEFORE))
    operator = _OPPOSITE[operator] if negated else operator
    yield Comparison(name.lower(), operator, number["literal"]["text"], span)


def _below(node: object) -> Sequence[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else ()


def _inside(what: str) -> str:
    """Return what an error calls a condition, within a sentence."""
    return what[0].lower() + what[1:] if what.startswith("The ") else what
