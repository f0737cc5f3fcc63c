"""What a policy decides: counted in one scan, or image by image.

`totals` is one row of numbers. `decided` has a row per image that a rule
decides, and the view `decisions` one per object.
"""

from collections.abc import Mapping
from itertools import combinations

from query.rules.asked import Asked, first, holds
from query.rules.policies.condition import quoted
from query.rules.policies.kinds import DuplicateRule, GroupRule, ImageRule
from sql import load


def count(asked: Asked) -> None:
    """Fill the table `totals`: images, and by rule how many it holds for, and one of the rules down to it.

    Counting each of these in one scan is faster than grouping by all rules.
    """
    numbers = [number for number, _ in asked.rules]
    rules = ", ".join(f"{holds(number, rule)} as h{number}" for number, rule in asked.rules)
    either = ", ".join(f"{f'e{k - 1} or ' if k > 1 else ''}h{k} as e{k}" for k in numbers)
    held, reached = ([_counted(f"{letter}{k}") for k in numbers] for letter in "he")
    both = [
        f"{{'upper_number': {a}, 'lower_number': {b}, 'images': {_counted(f'h{a} and h{b}')}}}"
        for a, b in combinations(numbers, 2)
    ]
    asked.make(
        "totals",
        f"""
        select
            count(*) as images,
            [{", ".join(held)}]::bigint[] as holds,
            [{", ".join(reached)}]::bigint[] as either,
            [{", ".join(both)}]::struct(upper_number integer, lower_number integer, images bigint)[] as both_hold
        from (select *, {either} from (select {rules} from {asked.joined(asked.rules)}))""",  # noqa: S608
    )


def _counted(condition: str) -> str:
    return f"coalesce(count_if({condition}), 0)"  # of no row at all it is null


def decide(asked: Asked) -> None:
    """Fill the table `decided` and create the view `decisions`; the rules' groups must have been found."""
    columns = {column: f"c{k}" for k, column in enumerate(_compared(asked))}
    named = [f"{quoted(column)} as {name}" for column, name in columns.items()]
    groups = [number for number, rule in asked.rules if isinstance(rule, GroupRule)]
    found = [f"flagged_{k}.fact as f{k}, flagged_{k}.score as s{k}" for k in groups]
    twins = [number for number, rule in asked.rules if isinstance(rule, DuplicateRule)]
    found += [f"duplicates_{k}.cosine::double as s{k}, duplicates_{k}.duplicate_of as p{k}" for k in twins]
    asked.make(
        "decided",
        f"""
        select
            image_id,
            rule_number,
            fact,
            round({_score(asked, columns)}, 7) as score,
            {_case("rule_number", {k: f"g{k}" for k in groups})} as group_name,
            ({_case("rule_number", {k: f"p{k}" for k in twins})})::varchar as duplicate_of
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
        if isinstance(rule, DuplicateRule):
            found[number] = str(asked.first_fact(number))
        if isinstance(rule, ImageRule) and rule.condition.comparisons:
            comparisons = enumerate(rule.condition.comparisons, asked.first_fact(number))
            cases = [f"when {one.sql(columns[one.column])} then {fact}" for fact, one in comparisons]
            found[number] = f"case {' '.join(cases)} end"
    return found


def _score(asked: Asked, columns: Mapping[str, str]) -> str:
    """Return SQL for what the deciding fact compares: a column's value, a group's share or number, or a cosine."""
    found: dict[int, str] = {}
    for number, rule in asked.rules:
        comparisons = rule.condition.comparisons if isinstance(rule, ImageRule) else ()
        found.update(
            (fact, f"try_cast({columns[one.column]} as double)")
            for fact, one in enumerate(comparisons, asked.first_fact(number))
        )
    groups = {number: f"s{number}" for number, rule in asked.rules if isinstance(rule, GroupRule | DuplicateRule)}
    return f"coalesce({_case('rule_number', groups)}, {_case('fact', found)})"


def _case(subject: str, values: Mapping[int, str]) -> str:
    cases = " ".join(f"when {key} then {value}" for key, value in values.items())
    return f"case {subject} {cases} end" if cases else "null"
