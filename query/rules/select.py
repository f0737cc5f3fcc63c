"""What a policy would do: counts by rule, what rules have in common, and the images nearest to each threshold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from query.opened import Opened
from query.rules.asked import Asked, put
from query.rules.decide import count, decide
from query.rules.flag import flag_groups
from query.rules.nearest import nearest
from query.rules.policies.kinds import QUARANTINE, REMOVE
from query.rules.policies.policy import Policy
from query.rules.thresholds import NEAREST
from sql import load


@dataclass(frozen=True)
class Selection:
    """What a policy would do. removed + kept + quarantined + errors = listed."""

    policy: str
    listed: int  # objects of the newest listings
    removed: int
    kept: int
    quarantined: Mapping[str, int]  # by label
    errors: int  # what is not embedded: failed, no image, or not read yet
    rules: pa.Table  # number, rule, action, reason, decides (as the first that holds), holds_for (at all)
    overlaps: pa.Table  # upper_number, upper_rule, lower_number, lower_rule, images: what two rules both hold for
    nearest: pa.Table  # number, rule, comparison, holds, score, distance, uri

    def to_record(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {name: v.to_pylist() if isinstance(v, pa.Table) else v for name, v in vars(self).items()}


def select(opened: Opened, policy: Policy, images: int = NEAREST) -> Selection:
    """Return what a policy would do, with so many images on either side of each threshold."""
    with put(opened, policy) as asked:
        flag_groups(asked)
        return counted(asked, images)


def decisions(opened: Opened, policy: Policy) -> pa.Table:
    """Return what a policy decides of every object: the columns of sql/rules/decisions.sql."""
    with put(opened, policy) as asked:
        flag_groups(asked)
        decide(asked)
        return asked.connection.table("decisions").to_arrow_table()


def counted(asked: Asked, images: int = 0) -> Selection:
    """Return what a policy would do, by the table `totals`, which this fills; the groups must have been found."""
    count(asked)
    connection = asked.connection
    embedded = int(connection.table("totals").project("images").fetchall()[0][0])
    rules = connection.sql(load("rules/rule_counts")).to_arrow_table()
    decided: dict[str, int] = {}
    for number, rule in asked.rules:
        decided[rule.action] = decided.get(rule.action, 0) + rules["decides"][number - 1].as_py()
    labels = dict.fromkeys(rule.label for _, rule in asked.rules if rule.label)
    quarantined = {label: decided[f"{QUARANTINE} {label}"] for label in labels}
    removed = decided.get(REMOVE, 0)
    return Selection(
        policy=asked.policy.name,
        listed=asked.opened.listed,
        removed=removed,
        kept=embedded - removed - sum(quarantined.values()),
        quarantined=quarantined,
        errors=asked.opened.listed - embedded,
        rules=rules,
        overlaps=connection.sql(load("rules/overlaps")).to_arrow_table(),
        nearest=nearest(asked, images),
    )
