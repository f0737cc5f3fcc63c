"""Duplicates within a policy: an image goes only where one that is as close is kept in the end.

So this looks at what every other rule decides, also those below: what one of them removes or quarantines is neither
removed as a duplicate nor a keeper. What a rule above keeps, and what an upper rule of this kind has kept for its
duplicates, is never removed.
"""

from collections.abc import Mapping

from query.duplicates.answering.ask import find_duplicates
from query.duplicates.answering.graph import TABLES, show_involved
from query.duplicates.sets import compared, described
from query.duplicates.words import Ranking
from query.rules.asked import Asked, first
from query.rules.policies.kinds import DuplicateRule
from sql import load


def flag_duplicates(asked: Asked, number: int, rule: DuplicateRule) -> None:
    """Fill the table `duplicates_<number>` with what a rule removes."""
    asked.made.extend(["eligible", *TABLES])
    involved = show_involved(asked.opened, rule.at)
    _find_eligible(asked, number)
    never = [f"({condition.sql} is true)" for condition in (rule.never, rule.unless) if condition]
    ranking = Ranking(
        order=rule.keep_first_by,
        never=" or ".join(["never_removed", *never]),
        group=rule.group.sql if rule.group else "''",
        joins=f"{asked.joins} inner join eligible using (image_id)",
    )
    with asked.naming_the_culprit():
        find_duplicates(asked.opened, involved, rule.groups, ranking)
    asked.make(f"duplicates_{number}", load("duplicates/named"))


def asked_pairs(asked: Asked) -> list[Mapping[str, object]]:
    """Return for each rule on duplicates which set of pairs it asked, and how sure it is that all are in it."""
    rules = [rule for _, rule in asked.rules if isinstance(rule, DuplicateRule)]
    sets = [compared(asked.opened.store, rule.at) for rule in rules]
    return [
        {"rule": rule.name, "set": one.set_id, "floor": one.floor, "pairs": described(one, rule.at)}
        for rule, one in zip(rules, sets, strict=True)
    ]


def _find_eligible(asked: Asked, number: int) -> None:
    """Fill the table `eligible`: the images that the other rules leave, and whether this one may not remove them."""
    upper = [k for k, one in asked.rules if isinstance(one, DuplicateRule) and k < number]
    others = [(k, one) for k, one in asked.rules if not isinstance(one, DuplicateRule) or k < number]
    asked.make(
        "held_for",
        f"select asked.image_id, {first(others)} as rule_number from {asked.joined(others, 'image_id')} "  # noqa: S608
        "where asked.image_id in (from involved)",
    )
    kept = [f"select duplicate_of_id as image_id from duplicates_{k}" for k in upper]  # noqa: S608
    asked.make("keepers", " union all ".join(kept) or "select null::uuid as image_id limit 0")
    asked.run(load("duplicates/eligible"), number=number)
