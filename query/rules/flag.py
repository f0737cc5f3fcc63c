"""The groups that a rule holds for, found by one pass over the images each: a table `flagged_<number>` of few rows.

Grain of `flagged_<number>`: one row per group; group_name, the fact that decided, and its score.
"""

from statistics import NormalDist

from query.rules.asked import Asked, first
from query.rules.policies.kinds import ShareRule, SurvivorsRule
from sql import load


def flag_groups(asked: Asked) -> None:
    """Find the groups of every rule in turn; a rule may look at what the rules above it have decided."""
    for number, rule in asked.rules:
        match rule:
            case ShareRule():
                _flag_shares(asked, number, rule)
            case SurvivorsRule():
                _flag_survivors(asked, number, rule)
            case _:
                continue
        asked.made.append("flagged")
        asked.make(f"flagged_{number}", "from flagged")


def _flag_shares(asked: Asked, number: int, rule: ShareRule) -> None:
    """Fill `flagged` with the groups of which a large enough share is flagged for one attribute."""
    columns = [f"{asked.group(number, rule.group)} as group_name"]
    columns += [f"{condition.sql} as a{k}" for k, condition in enumerate(rule.any)]
    flagged = ", ".join(f"count(*) filter (a{k})" for k in range(len(rule.any)))
    asked.make(
        "counted",
        f"select group_name, count(*) as images, [{flagged}] as flagged "  # noqa: S608
        f"from (select {', '.join(columns)} from {asked.source}) where group_name is not null group by group_name",
    )
    z = NormalDist().inv_cdf((1 + rule.confidence) / 2) if rule.confidence else 0.0
    asked.run(
        load("rules/shares"),
        share_at_least=rule.share_at_least,
        count_at_least=rule.count_at_least,
        z=z,
        first_fact=asked.first_fact(number),
    )


def _flag_survivors(asked: Asked, number: int, rule: SurvivorsRule) -> None:
    """Fill `flagged` with the groups of which the rules above have left too few."""
    above = [(k, one) for k, one in asked.rules if k < number]
    joined = asked.joined(above, f"{asked.group(number, rule.group)} as group_name")
    asked.make(
        "outcomes",
        f"select group_name, rule_number, count(*) as images "  # noqa: S608
        f"from (select asked.group_name, {first(above)} as rule_number from {joined}) "
        "where group_name is not null group by all",
    )
    asked.run(load("rules/survivors"), survivors_below=rule.survivors_below, fact=asked.first_fact(number))
