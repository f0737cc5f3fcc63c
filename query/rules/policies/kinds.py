"""The kinds of rules. A rule decides the images that it holds for, where no rule above it has decided them.

    ImageRule        remove or keep an image, by a condition on it
    GroupRule        quarantine the images of a group
        ShareRule        so large a share of the group is flagged for one and the same attribute
        SurvivorsRule    so few of the group are left after the rules above have removed some of it
    DuplicateRule    remove an image that is as close as this to one that is kept

True = decided; null never decides. A rule of a new kind needs a class here, its keys in `policy.py`, and in `asked.py`
and `flag.py` what finds the images that it holds for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from query.rules.policies.condition import Comparison, Condition

REMOVE, KEEP, QUARANTINE = "remove", "keep", "quarantine"


@dataclass(frozen=True)
class Fact:
    """What a decision rests on: a column or a group's share, compared with a threshold."""

    attribute: str
    operator: str
    threshold: float

    @classmethod
    def of(cls, comparison: Comparison) -> "Fact":
        """Return the fact that a comparison of a column with a number is."""
        return cls(comparison.column, comparison.operator, float(comparison.threshold))


@dataclass(frozen=True)
class Rule:
    """What every rule has."""

    name: str
    reason: str
    unless: Condition | None  # images for which it is true are left to the rules below

    @property
    def decision(self) -> str:
        """REMOVE, KEEP or QUARANTINE."""
        raise NotImplementedError

    @property
    def label(self) -> str | None:
        """The quarantine's label; None for other decisions."""
        return None

    @property
    def action(self) -> str:
        """The decision in words: `remove`, `keep`, `quarantine masked`."""
        return " ".join(filter(None, (self.decision, self.label)))

    @property
    def about(self) -> tuple[Condition, ...]:
        """The conditions that the rule rests on, each true or false of an image."""
        raise NotImplementedError

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What its decisions may rest on, in written order."""
        raise NotImplementedError

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the rule."""
        return (*self.about, self.unless) if self.unless else self.about

    @property
    def values(self) -> tuple[Condition, ...]:
        """The expressions that need not be true or false."""
        return ()

    @property
    def expressions(self) -> tuple[Condition, ...]:
        """Every piece of SQL that somebody typed."""
        return (*self.conditions, *self.values)


@dataclass(frozen=True)
class ImageRule(Rule):
    """Removes or keeps an image by a condition on it."""

    does: str  # REMOVE or KEEP
    condition: Condition

    @property
    def decision(self) -> str:
        """REMOVE or KEEP."""
        return self.does

    @property
    def about(self) -> tuple[Condition, ...]:
        """The condition."""
        return (self.condition,)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The comparisons with a number in its condition."""
        return tuple(map(Fact.of, self.condition.comparisons))


@dataclass(frozen=True)
class Group:
    """What tells an image's group: an expression whose value is the group's name; null is no group."""

    expression: Condition
    pattern: str | None = None  # a regular expression over the expression, whose first part in brackets is the name

    @property
    def is_folder(self) -> bool:
        """True for the folder, of which the top one has an empty name; any other empty name is no group."""
        return self.pattern is None and self.expression.text.lower() == "folder"


@dataclass(frozen=True)
class GroupRule(Rule):
    """Quarantines the images of a group."""

    quarantine: str  # the label
    group: Group

    @property
    def decision(self) -> str:
        """QUARANTINE."""
        return QUARANTINE

    @property
    def label(self) -> str:
        """The quarantine's label."""
        return self.quarantine

    @property
    def values(self) -> tuple[Condition, ...]:
        """What tells the group."""
        return (self.group.expression,)


@dataclass(frozen=True)
class ShareRule(GroupRule):
    """Quarantines a group of whose embedded images a large share is flagged for one and the same attribute."""

    any: tuple[Condition, ...]  # each flags an attribute and is counted by itself
    share_at_least: float  # of the group's embedded images, whatever became of them
    count_at_least: int
    confidence: float | None  # then the share's lower bound must reach share_at_least

    @property
    def about(self) -> tuple[Condition, ...]:
        """The conditions that flag an image."""
        return self.any

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The share of each condition."""
        what = "share of" if self.confidence is None else "lower bound of the share of"
        return tuple(Fact(f"{what} {condition.text}", ">=", self.share_at_least) for condition in self.any)


@dataclass(frozen=True)
class SurvivorsRule(GroupRule):
    """Quarantines what is left of a group of which little is left and something was removed."""

    survivors_below: int

    @property
    def about(self) -> tuple[Condition, ...]:
        """Nothing: it looks at the decisions of the rules above."""
        return ()

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The number of survivors."""
        return (Fact("survivors", "<", self.survivors_below),)


@dataclass(frozen=True)
class DuplicateRule(Rule):
    """Removes an image that is close to one that is kept in the end, after all other rules have decided."""

    at: float  # cosine
    keep_first_by: str  # as after ORDER BY
    order: Condition  # the same as an expression, to be checked
    never: Condition | None  # images for which it is true are never removed by this rule
    group: Condition | None
    groups: str  # how the groups of two images must be: 'any', 'same' or 'different'

    @property
    def decision(self) -> str:
        """REMOVE."""
        return REMOVE

    @property
    def about(self) -> tuple[Condition, ...]:
        """Nothing: it looks at pairs."""
        return ()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that spare an image."""
        return tuple(condition for condition in (self.never, self.unless) if condition)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The cosine to the image that is kept."""
        return (Fact("cosine", ">=", self.at),)

    @property
    def values(self) -> tuple[Condition, ...]:
        """What ranks, and what tells the group."""
        return (self.order, self.group) if self.group else (self.order,)


def columns_of(rules: Sequence[Rule]) -> frozenset[str]:
    """Return every word of the rules that may be a column."""
    return frozenset().union(*(expression.names for rule in rules for expression in rule.expressions))
