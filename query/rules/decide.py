"""What a policy decides: counted in one scan, or image by image.

`patterns` has one row per pattern of rules that hold, with the number of images: the first rule that holds, what each
holds for at all, and what two of them hold for together are sums over it. `decided` has a row per image that a rule
decides, and the view `decisions` one per object.
"""

from collections.abc import Mapping

from query.rules.asked import Asked, first, holds
from query.rules.policies.condition import quoted
from query.rules.policies.kinds import GroupRule, ImageRule
from sql import load


def count(asked: Asked) -> None:
    """Fill the table `patterns`: holds, a list with true where the rule of that number holds, and images."""
    columns = ", ".join(f"h{number}" for number, _ in asked.rules)
    rules = ", ".join(f"{holds(number, rule)} as h{number}" for number, rule in asked.rules)
    asked.make(
        "patterns",
        f"select [{columns}] as holds, images "  # noqa: S608
        f"from (select {rules}, count(*) as images from {asked.joined(asked.rules)} group by all)",
    )


def decide(asked: Asked) -> None:
    """Fill the table `decided` and create the view `decisions`; the rules' groups must have been found."""
    columns = {column: f"c{k}" for k, column in enumerate(_compared(asked))}
    named = [f"{quoted(column)} as {name}" for column, name in columns.items()]
    groups = [number for number, rule in asked.rules if isinstance(rule, GroupRule)]
    found = [f"flagged_{k}.fact as f{k}, flagged_{k}.score as s{k}" for k in groups]
    asked.make(
        "decided",
        f"""
        select
            image_id,
            rule_number,
            fact,
            round({_score(asked, columns)}, 7) as score,
            {_case("rule_number", {k: f"g{k}" for k in groups})} as group_name
        from (
            select *, ({_case("rule_number", _rests_on(asked, columns))})::integer as fact
            from (
                select {", ".join(["asked.*", *found])}, {first(asked.rules)} as rule_number
                from {asked.joined(asked.rules, "image_id", *named)}
            )
            where rule_number is not null
        )""",  # noqa: S608
    )
    asked.connection.execute(load("rules/decisions"))


def _compared(asked: Asked) -> list[str]:
    """Return the columns that the image rules compare with a number."""
    rules = [rule for _, rule in asked.rules if isinstance(rule, ImageRule)]
    return sorted({comparison.column for rule in rules for comparison in rule.condition.comparisons})


def _rests_on(asked: Asked, columns: Mapping[str, str]) -> dict[int, str]:
    """Return for each rule SQL for the number of the fact that decided: the first comparison that holds."""
    found = {}
    for number, rule in asked.rules:
        if isinstance(rule, GroupRule):
            found[number] = f"f{number}"
        if isinstance(rule, ImageRule) and rule.condition.comparisons:
            comparisons = enumerate(rule.condition.comparisons, asked.first_fact(number))
            cases = [f"when {one.sql(columns[one.column])} then {fact}" for fact, one in comparisons]
            found[number] = f"case {' '.join(cases)} end"
    return found


def _score(asked: Asked, columns: Mapping[str, str]) -> str:
    """Return SQL for what the deciding fact compares: a column's value, or a group's share or number."""
    found: dict[int, str] = {}
    for number, rule in asked.rules:
        comparisons = rule.condition.comparisons if isinstance(rule, ImageRule) else ()
        found.update(
            (fact, f"try_cast({columns[one.column]} as double)")
            for fact, one in enumerate(comparisons, asked.first_fact(number))
        )
    groups = {number: f"s{number}" for number, rule in asked.rules if isinstance(rule, GroupRule)}
    return f"coalesce({_case('rule_number', groups)}, {_case('fact', found)})"


def _case(subject: str, values: Mapping[int, str]) -> str:
    cases = " ".join(f"when {key} then {value}" for key, value in values.items())
    return f"case {subject} {cases} end" if cases else "null"
