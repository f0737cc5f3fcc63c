"""What changes sides where one policy takes the place of another."""

from dataclasses import dataclass

import pyarrow as pa

from query.opened import Opened
from query.rules.asked import put
from query.rules.decide import decide
from query.rules.flag import flag_groups
from query.rules.policies.policy import Policy
from sql import load

EXAMPLES = 3


@dataclass(frozen=True)
class Difference:
    """What a second policy decides otherwise. A side is keep, remove or a quarantine with its label."""

    before: str
    after: str
    counts: pa.Table  # was, was_by (the rule), becomes, becomes_by, images
    changed: pa.Table  # uri, was, was_by, becomes, becomes_by; in the order of `counts`, then by URI


def diff(opened: Opened, before: Policy, after: Policy, examples: int | None = None) -> Difference:
    """Return what changes sides, with all the images, or with so many examples of each change."""
    for name, policy in (("before", before), ("after", after)):
        with put(opened, policy) as asked:
            flag_groups(asked)
            decide(asked)
            opened.connection.execute(f"create or replace temp table {name} as {load('rules/sides')}")
    connection = opened.connection
    connection.execute(load("rules/changed"))
    counts = connection.sql(load("rules/changes")).to_arrow_table()
    given = {"examples": 2**62 if examples is None else examples}
    changed = connection.sql(load("rules/changed_images"), params=given).to_arrow_table()
    for name in ("before", "after", "changed"):
        connection.execute(f"drop table {name}")
    return Difference(before.name, after.name, counts, changed)
