"""A policy put to a store: every condition checked, and what the rules hold for written as SQL.

The images are read once, from the table `held` in memory, with every condition as a column of its own:

    select image_id, (people >= 0.5) as h1, folder as g2 from held as candidates

Around that stand our own words alone. The groups that a rule holds for are found first, rule by rule, as one row each
of a table `flagged_<number>`, and duplicates as one row each of a table `duplicates_<number>`; then a rule is a column
or a join, and the first rule that holds is one CASE.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import duckdb
import pyarrow as pa

from query.duplicates.sets import compared
from query.opened import Opened
from query.rules.policies.condition import (
    cannot_be_applied,
    check_condition,
    kind_of,
    not_scored,
    quoted,
    require_scores,
)
from query.rules.policies.kinds import DuplicateRule, Fact, Group, GroupRule, ImageRule, Rule, columns_of
from query.rules.policies.policy import Policy
from query.rules.tables import read_table, require_matches
from query.scoring.concepts import shipped_names
from query.scoring.score_sets import image_parts
from store.errors import NotScored

Numbered = Sequence[tuple[int, Rule]]

RULES = pa.schema(
    {
        "number": pa.int32(),
        "rule": pa.string(),
        "reason": pa.string(),
        "decision": pa.string(),
        "quarantine": pa.string(),
        "action": pa.string(),
    }
)
FACTS = pa.schema({"fact": pa.int32(), "attribute": pa.string(), "operator": pa.string(), "threshold": pa.float64()})


@dataclass(frozen=True)
class Asked:
    """A checked policy over an opened store."""

    opened: Opened
    policy: Policy
    source: str  # what the images are read FROM; it is named candidates, and has what the rules ask about
    joins: str  # the part of it that joins the policy's tables
    made: list[str]  # the tables that are dropped at the end
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The store's connection."""
        return self.opened.connection

    @property
    def rules(self) -> Numbered:
        """The rules with their numbers, from 1."""
        return list(enumerate(self.policy.rules, 1))

    @property
    def rule_rows(self) -> pa.Table:
        """The table `rules`: number, rule, reason, decision, quarantine, action."""
        rows = [
            {
                "number": number,
                "rule": rule.name,
                "reason": rule.reason,
                "decision": rule.decision,
                "quarantine": rule.label,
                "action": rule.action,
            }
            for number, rule in self.rules
        ]
        return pa.Table.from_pylist(rows, RULES)

    @property
    def fact_rows(self) -> pa.Table:
        """The table `facts`: fact, attribute, operator, threshold."""
        rows = [{"fact": k, **asdict(fact)} for k, (_, fact) in enumerate(self.facts, 1)]
        return pa.Table.from_pylist(rows, FACTS)

    @property
    def facts(self) -> list[tuple[int, Fact]]:
        """What decisions may rest on, in the order of the rules, each with its rule's number; numbered from 1."""
        return [(number, fact) for number, rule in self.rules for fact in rule.facts]

    def first_fact(self, number: int) -> int:
        """Return the number of a rule's first fact."""
        return 1 + sum(len(rule.facts) for before, rule in self.rules if before < number)

    def make(self, name: str, query: str, **parameters: object) -> None:
        """Fill a temp table with the answer of a query; a condition that fails on some image is named."""
        self.made.append(name)
        self.run(f"create or replace temp table {name} as {query}", **parameters)

    def run(self, statement: str, **parameters: object) -> list[tuple[object, ...]]:
        """Run a statement that holds conditions of the policy."""
        given = {**self.parameters, **parameters}
        given = {name: value for name, value in given.items() if re.search(rf"\${name}\b", statement)}
        with self.naming_the_culprit():
            return self.connection.execute(statement, given or None).fetchall()

    @contextmanager
    def naming_the_culprit(self) -> Iterator[None]:
        """Raise UsageError in place of DuckDB's error where a condition fails on some image, and name it."""
        try:
            yield
        except (duckdb.DataError, duckdb.ProgrammingError) as error:
            raise cannot_be_applied(self._culprit(), error) from error

    def _culprit(self) -> str:
        """Return what an error calls the first expression that cannot be asked of every image."""
        for _, rule in self.rules:
            for expression in rule.expressions:
                try:
                    asked = f"select {expression.sql} as answer from candidates{self.joins}"  # noqa: S608
                    self.connection.execute(f"select count(answer) from ({asked})")  # noqa: S608
                except duckdb.Error:
                    return expression.what
        return f"The policy {self.policy.name}"

    def conditions(self, rules: Numbered, *columns: str) -> str:
        """Return a query: one row per embedded image, with these columns and what each rule asks."""
        asked = [*columns]
        for number, rule in rules:
            if isinstance(rule, ImageRule):
                asked.append(f"{rule.condition.sql} as h{number}")
            if isinstance(rule, GroupRule):
                asked.append(f"{self.group(number, rule.group)} as g{number}")
            if isinstance(rule, DuplicateRule):
                asked.append(f"image_id as d{number}")
            elif rule.unless:
                asked.append(f"{rule.unless.sql} as u{number}")
        return f"select {', '.join(asked)} from {self.source}"  # noqa: S608

    def joined(self, rules: Numbered, *columns: str) -> str:
        """Return what `holds` and `first` are asked FROM: the conditions, beside what rules were found to hold for."""
        found = "".join(
            f" left join flagged_{number} on asked.g{number} = flagged_{number}.group_name"
            for number, rule in rules
            if isinstance(rule, GroupRule)
        )
        found += "".join(
            f" left join duplicates_{number} on asked.d{number} = duplicates_{number}.image_id"
            for number, rule in rules
            if isinstance(rule, DuplicateRule)
        )
        return f"({self.conditions(rules, *columns)}) as asked{found}"

    def group(self, number: int, group: Group) -> str:
        """Return the name of an image's group as SQL; null where it has none."""
        if group.is_folder:
            return "folder"
        value = f"{group.expression.sql}::varchar"
        if group.pattern is not None:
            value = f"regexp_extract({value}, $pattern_{number}, 1)"
        return f"nullif({value}, '')"


def holds(number: int, rule: Rule) -> str:
    """Return SQL that is true where a rule holds, whatever the rules above it say."""
    if isinstance(rule, DuplicateRule):
        return f"duplicates_{number}.image_id is not null"
    text = f"flagged_{number}.group_name is not null" if isinstance(rule, GroupRule) else f"asked.h{number}"
    return f"{text} and asked.u{number} is not true" if rule.unless else text


def first(rules: Numbered) -> str:
    """Return SQL for the number of the first rule that holds, null where none does."""
    cases = "\n".join(f"when {holds(number, rule)} then {number}" for number, rule in rules)
    return f"(case {cases} end)::integer" if rules else "null::integer"


@contextmanager
def put(opened: Opened, policy: Policy) -> Iterator[Asked]:
    """Check a policy against a store; what is made for it is cleared away at the end."""
    made: list[str] = []
    try:
        asked = _checked(opened, policy, made)
        for name, rows in (("rules", asked.rule_rows), ("facts", asked.fact_rows)):
            opened.connection.from_arrow(rows).create_view(name, replace=True)
        yield asked
    finally:
        for name in dict.fromkeys(made):
            opened.connection.execute(f"drop table if exists {name}")
        for name in ("decisions", "compared", "near", "rules", "facts", "involved", "ranked", "standing", "duplicates"):
            opened.connection.execute(f"drop view if exists {name}")


def _checked(opened: Opened, policy: Policy, made: list[str]) -> Asked:
    known = opened.columns
    joins = ""
    for k, table in enumerate(policy.tables):
        made.append(f"joined_{k}")
        known = [*known, *read_table(opened.connection, table, f"joined_{k}", known)]
        joins += f" left join joined_{k} as {quoted(table.name)} using ({table.on})"
    # Duplicates are ranked by themselves, of the few images that are close to others: nothing is held for them.
    names = columns_of([rule for rule in policy.rules if not isinstance(rule, DuplicateRule)])
    base = opened.candidates_with(names | {table.on for table in policy.tables})
    _check(opened, policy, (f"{base}{joins}", f"candidates{joins}"), known)
    for k, table in enumerate(policy.tables):
        require_matches(opened.connection, table, f"joined_{k}", base)
    patterns = {
        f"pattern_{number}": rule.group.pattern
        for number, rule in enumerate(policy.rules, 1)
        if isinstance(rule, GroupRule) and rule.group.pattern is not None
    }
    return Asked(opened, policy, f"{base}{joins}", joins, made, patterns)


def _check(opened: Opened, policy: Policy, sources: tuple[str, str], known: Sequence[str]) -> None:
    """Raise for the first condition that asks for what is not there; for scores that are missing, name them all.

    `sources` are what images are read FROM, and what duplicates are ranked FROM.
    """
    scorable = shipped_names()
    try:
        for rule in policy.rules:
            source = sources[isinstance(rule, DuplicateRule)]
            for condition in rule.conditions:
                check_condition(opened.connection, source, condition, known, scorable)
            for value in rule.values:
                kind_of(opened.connection, source, value, known, scorable)
            if isinstance(rule, DuplicateRule):
                compared(opened.store, rule.at)
    except NotScored as error:
        missing = sorted((columns_of(policy.rules) - {column.lower() for column in known}) & {*scorable})
        if len(missing) == 1:
            raise
        raise not_scored(f"The policy {policy.name}", missing) from error
    expressions = [expression for rule in policy.rules for expression in rule.expressions]
    require_scores(expressions, opened.scored, image_parts(opened.store))
