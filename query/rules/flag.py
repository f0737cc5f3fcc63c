"""What rules hold for beyond a single image, found before anything is decided: groups, and duplicates.

Grain of `flagged_<number>`: one row per group; group_name, the fact that decided, and its score. Of
`duplicates_<number>`: one row per image that is removed as a duplicate; see `sql/duplicates/named.sql`.
"""

from statistics import NormalDist

from query.rules.asked import Asked, first
from query.rules.duplicated import flag_duplicates
from query.rules.policies.kinds import DuplicateRule, ShareRule, SurvivorsRule
from sql import load


def flag_groups(asked: Asked) -> None:
    """Find the groups of every rule, and the duplicates among what all other rules leave.

    Duplicates may leave too little of a group. Then its images go together and are keepers no more, so the duplicates
    are found again, until no group is added. A group that was added stays, so this comes to an end.
    """
    duplicates = {number: rule for number, rule in asked.rules if isinstance(rule, DuplicateRule)}
    survivors = {number: rule for number, rule in asked.rules if isinstance(rule, SurvivorsRule)}
    for number in duplicates:
        asked.make(f"duplicates_{number}", load("duplicates/none"))
    for number, rule in asked.rules:
        if isinstance(rule, ShareRule):
            _flag_shares(asked, number, rule)
            asked.make(f"flagged_{number}", "from flagged")
    for number, thin in survivors.items():
        _flag_survivors(asked, number, thin)
        asked.make(f"flagged_{number}", "from flagged")
    below = {number: rule for number, rule in survivors.items() if number > min(duplicates, default=number)}
    added = bool(duplicates)
    while added:
        for number, twins in duplicates.items():
            flag_duplicates(asked, number, twins)
        added = any(_add_survivors(asked, number, thin) for number, thin in below.items())


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
    asked.made.append("flagged")
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
    asked.made.append("flagged")
    asked.run(load("rules/survivors"), survivors_below=rule.survivors_below, fact=asked.first_fact(number))


def _add_survivors(asked: Asked, number: int, rule: SurvivorsRule) -> bool:
    """Add the groups of which too few are left now; return whether there is one."""
    _flag_survivors(asked, number, rule)
    ((added,),) = asked.run(f"insert into flagged_{number} from flagged anti join flagged_{number} using (group_name)")
    return bool(added)
