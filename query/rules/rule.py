"""Rules of removal: SQL conditions over an image's metadata and scores. True = removed; the first that holds wins."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from query.readonly import does_more_than_read, parse
from query.scoring.score_sets import ScoreSet
from sql import load
from store.errors import NotScored, QueryRefused, UnknownName, UsageError


@dataclass(frozen=True)
class Rule:
    """One condition, for example `people >= 0.5`, and the columns that it reads."""

    expression: str
    columns: frozenset[str]


def parse_rule(connection: duckdb.DuckDBPyConnection, expression: str) -> Rule:
    """Return the rule that an expression means; raise UsageError where it is no single SQL condition."""
    if not expression.strip():
        raise UsageError("A rule is empty.", do="Write a condition, for example --remove 'people >= 0.5'.")
    try:
        nodes = parse(connection, f"select ({expression}\n)")
    except QueryRefused as error:
        raise UsageError(f"The rule {expression!r} is no SQL condition: {_first_line(error)}.") from error
    if len(nodes) != 1 or nodes[0]["type"] != "SELECT_NODE" or nodes[0]["from_table"]["type"] != "EMPTY":
        raise UsageError(f"The rule {expression!r} is more than one condition.")
    for more in does_more_than_read(nodes):
        raise UsageError(f"The rule {expression!r} holds {more}; a rule only asks.")
    # As it was typed: a line break may end a comment or stand in a text.
    return Rule(expression.strip(), frozenset(_columns(nodes[0])))


def check_rule(connection: duckdb.DuckDBPyConnection, rule: Rule, known: Sequence[str], shipped: Sequence[str]) -> None:
    """Raise where a rule asks for a column that is not there, or is true or false of nothing.

    `known` are the columns of the view `candidates`, `shipped` the concepts that could be scored.
    """
    try:
        columns = connection.sql(
            f"select image_id, ({rule.expression}\n) as rule from candidates limit 0"  # noqa: S608
        ).description
    except duckdb.Error as error:
        _refuse_unknown(rule, known, shipped)
        raise UsageError(f"DuckDB rejects the rule {rule.expression!r}: {_first_line(error)}.") from error
    if len(columns) != len(["image_id", "rule"]):
        raise UsageError(f"The rule {rule.expression!r} is more than one condition.")
    kind = str(columns[-1][1])
    if kind not in {"BOOLEAN", "bool"}:
        raise UsageError(
            f"The rule {rule.expression!r} gives a {kind}, not true or false.",
            do="Compare it with a threshold, for example 'people >= 0.5'.",
        )


def _refuse_unknown(rule: Rule, known: Sequence[str], shipped: Sequence[str]) -> None:
    for column in sorted(rule.columns - set(known)):
        if column in shipped:
            raise NotScored(
                f"The rule {rule.expression!r} asks for {column}, which has no scores yet.",
                do=f"Run `clipsieve score STORE {column}`.",
            )
        nearest = difflib.get_close_matches(column, {*known, *shipped}, 1, 0)
        raise UnknownName(
            f"The rule {rule.expression!r} asks for {column!r}.", do=f"The nearest column is {nearest[0]!r}."
        )


def require_scores(rules: Sequence[Rule], scored: ScoreSet | None, parts: Sequence[str]) -> None:
    """Raise NotScored where a rule asks for a concept that some parts have no scores of."""
    names = set(scored.names) if scored else set()
    asked = sorted(names & set().union(*(rule.columns for rule in rules)))
    if scored and asked and len(scored.parts) < len(parts):
        raise not_scored_fully(asked, scored, parts)


def not_scored_fully(concepts: Sequence[str], scored: ScoreSet, parts: Sequence[str]) -> NotScored:
    """Return the error for scores that do not cover every part of images."""
    return NotScored(
        f"{', '.join(concepts)}: scores cover {len(scored.parts)} of {len(parts)} parts of the store.",
        "Images were embedded since; an answer without them would be wrong.",
        "Run `clipsieve score STORE`.",
    )


def decide(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Fill the table `decisions`. The rules are checked conditions: they are code, and stand in the query as such."""
    connection.execute("create or replace temp table rules (number integer, rule varchar)")
    for number, rule in enumerate(rules, 1):
        connection.execute("insert into rules values ($number, $rule)", {"number": number, "rule": rule.expression})
    cases = "\n".join(f"when coalesce(({rule.expression}\n), false) then {i}" for i, rule in enumerate(rules, 1))
    first = f"case {cases} end" if rules else "null"
    try:
        query = f"select image_id, ({first})::integer as rule_number from candidates"  # noqa: S608
        connection.execute(f"create or replace temp table matches as {query}")
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise UsageError(
            f"A rule cannot be applied to every image: {_first_line(error)}.",
            do="Where a conversion fails, try_cast gives null, and null does not remove.",
        ) from error
    connection.execute(load("rules/decisions"))


def _columns(node: object) -> Iterator[str]:
    """Yield the column of every column reference below a parsed node, without its table, as SQL compares it."""
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][-1].lower()
        for value in node.values():
            yield from _columns(value)
    elif isinstance(node, list):
        for value in node:
            yield from _columns(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removesuffix(".")
