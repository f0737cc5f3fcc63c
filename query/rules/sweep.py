"""How much thresholds remove, many of them at once, from cached scores alone: of one concept, by group, or of two."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from query.opened import Opened, sorted_column
from query.rules.plot import plot
from query.rules.policies.condition import Condition, check_condition, first_line, kind_of, parse_condition
from query.rules.thresholds import Scores, sweep_sorted
from query.scoring.concepts import Concept, shipped_names
from sql import load
from store.errors import UsageError

STEPS = 100
GRID_STEPS = 10
MOST_STEPS = 10_000
_MOST_GRID_STEPS = 1_000
_MOST_ROWS = 5_000_000
_EXACT = 2**22  # so far, rounding a product of FLOATs finds the nearest whole number


@dataclass(frozen=True)
class SweepWords:
    """What a sweep is asked for beside its concepts; everything may be left out.

    steps:   from the lowest threshold to the highest; None: about 100, of two concepts about 10 each, of a round size
    below:   true: removed where `score < threshold`; None: what suits the concept's unit
    either:  of two concepts, one that holds is enough
    by:      a SQL expression over the view `candidates` that tells an image's group
    where:   a SQL condition over the view `candidates`: which images are looked at
    """

    steps: int | None = None
    below: bool | None = None
    either: bool = False
    by: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class Axis:
    """The thresholds of one concept, from the lowest score to the highest, and which side of them goes."""

    concept: Concept
    steps: int
    below: bool

    @classmethod
    def of(cls, concept: Concept, words: SweepWords, default_steps: int) -> "Axis":
        """Return the axis that the words ask for; raise UsageError where FLOAT cannot tell its thresholds apart.

        Of a rating the low ones go, as it says how good an image is; of everything else, what is at least so high.
        """
        steps = _round_steps(concept.range, default_steps) if words.steps is None else words.steps
        below = concept.unit == "rating" if words.below is None else words.below
        axis = cls(concept, steps, below)
        if not 1 <= steps <= MOST_STEPS:
            raise UsageError(f"A sweep has 1 to {MOST_STEPS:,} steps, not {steps:,}.")
        if max(map(abs, concept.range)) * axis._whole[2] >= _EXACT:
            raise UsageError(f"{steps:,} steps of {concept.name} are finer than its scores.", do="Take fewer steps.")
        return axis

    @property
    def rule(self) -> str:
        """Return `people >=`."""
        return f"{self.concept.name} {'<' if self.below else '>='}"

    @property
    def nearest_to_suggested(self) -> int:
        """Return the number of the threshold that lies nearest to the one that the concept suggests."""
        low, high = self.concept.range
        return min(self.steps, max(0, round((self.concept.threshold - low) / (high - low) * self.steps)))

    @property
    def decimals(self) -> int:
        """Return with how many digits, 2 to 4, its thresholds are shown."""
        return next((d for d in (2, 3) if 10**d % self._whole[2] == 0), 2 if self.steps <= STEPS else 4)

    def shown(self, threshold: float) -> str:
        """Return a threshold as text."""
        return f"{threshold:.{self.decimals}f}"

    def parameters(self, prefix: str = "") -> dict[str, Any]:
        """Return what the queries call `$first`, `$step` and so on."""
        first, step, per = self._whole
        given = {"first": first, "step": step, "per": per, "steps": self.steps, "below": self.below}
        return {f"{prefix}{name}": value for name, value in given.items()}

    @property
    def thresholds(self) -> Scores:
        """Return the thresholds, (steps + 1,) float32: whole numbers divided once, so as their decimals are read."""
        first, step, per = self._whole
        return (first + step * np.arange(self.steps + 1)).astype(np.float32) / np.float32(per)

    @property
    def _whole(self) -> tuple[int, int, int]:
        """Return whole numbers (first, step, per): threshold i is (first + i * step) / per, in smallest terms."""
        low, high = (Fraction(str(end)) for end in self.concept.range)
        step = (high - low) / self.steps
        per = math.lcm(low.denominator, step.denominator)
        return int(low * per), int(step * per), per


@dataclass(frozen=True)
class Sweep:
    """What thresholds would remove.

    table:  one row per threshold: threshold, removed, kept, removed_share; by group, group_name stands before; of two
            concepts, a threshold of each
    gone:   scored images that are not counted, because they were deleted or replaced at their source
    """

    axes: tuple[Axis, ...]
    words: SweepWords
    table: pa.Table
    gone: int

    def plot(self, place: str) -> None:
        """Draw it into a file that ends in .png or .svg; raise MissingExtra where matplotlib is not installed."""
        plot(self, place)

    @property
    def rule(self) -> str:
        """Return what goes, as `people >= threshold`."""
        word = " or " if self.words.either else " and "
        return word.join(f"{axis.rule} {'threshold' if len(self.axes) == 1 else 'its threshold'}" for axis in self.axes)


def sweep(opened: Opened, concepts: Sequence[Concept], words: SweepWords) -> Sweep:
    """Return what each threshold of one concept, or each pair of two, removes; every part must have their scores."""
    if len(concepts) > 1 and words.by is not None:
        raise UsageError("A sweep of two concepts is a grid and has no groups.", do="Leave out one of them, or --by.")
    if len(concepts) > 1 and (words.steps or 0) > _MOST_GRID_STEPS:
        raise UsageError(f"A sweep of two concepts has at most {_MOST_GRID_STEPS:,} steps of each.")
    if len({concept.name for concept in concepts}) < len(concepts):
        raise UsageError(f"{concepts[0].name} stands there twice.", do="Name two concepts, or one.")
    axes = tuple(Axis.of(concept, words, STEPS if len(concepts) == 1 else GRID_STEPS) for concept in concepts)
    if len(axes) == 1 and words.by is None:
        table = sweep_sorted(_sorted_scores(opened, axes[0], words), axes[0].thresholds, below=axes[0].below)
    elif len(axes) == 1:
        table = _by_group(opened, axes[0], words)
    else:
        table = _grid(opened, axes, words)
    return Sweep(axes, words, table, opened.no_longer_listed)


def _round_steps(ends: tuple[float, float], about: int) -> int:
    """Return a number of steps near `about` of which each is 1, 2 or 5 of a decimal place; `about` where none fits."""
    low, high = (Fraction(str(end)) for end in ends)
    sizes = (Fraction(digit) * Fraction(10) ** place for place in range(-6, 6) for digit in (1, 2, 5))
    fitting = [int((high - low) / size) for size in sizes if ((high - low) / size).denominator == 1]
    return min(
        (steps for steps in fitting if about / 2 <= steps <= 2 * about), key=lambda n: abs(n - about), default=about
    )


def _sorted_scores(opened: Opened, axis: Axis, words: SweepWords) -> Scores:
    if words.where is None:
        return opened.sorted_scores(axis.concept.name)
    _show_scored(opened, [axis], words)
    with _failing_on_some_image():
        return sorted_column(opened.connection.table("scored"), "score")


def _by_group(opened: Opened, axis: Axis, words: SweepWords) -> pa.Table:
    _show_scored(opened, [axis], words)
    _refuse_too_many_groups(opened, axis, words.by)
    return _answer(opened, "rules/sweep_groups", {}, [axis])


def _grid(opened: Opened, axes: Sequence[Axis], words: SweepWords) -> pa.Table:
    _show_scored(opened, axes, words)
    table = _answer(opened, "rules/sweep_grid", {**axes[1].parameters("other_"), "either": words.either}, axes)
    names = [f"{axis.concept.name}_threshold" for axis in axes]
    return table.rename_columns([*names, *table.column_names[len(names) :]])


def _refuse_too_many_groups(opened: Opened, axis: Axis, by: str | None) -> None:
    with _failing_on_some_image():
        ((groups,),) = opened.connection.execute("select approx_count_distinct(group_name) from scored").fetchall()
    if groups * (axis.steps + 1) > _MOST_ROWS:
        raise UsageError(
            f"--by {by!r} makes about {groups:,} groups, each with {axis.steps + 1:,} thresholds.",
            do="Take larger groups, such as --prefix 1, or fewer --steps.",
        )


def _answer(opened: Opened, name: str, more: Mapping[str, Any], axes: Sequence[Axis]) -> pa.Table:
    with _failing_on_some_image():
        return opened.connection.sql(load(name), params={**axes[0].parameters(), **more}).to_arrow_table()


@contextmanager
def _failing_on_some_image() -> Iterator[None]:
    """Say in one sentence that an expression of the user's fails on some image."""
    try:
        yield
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise UsageError(
            f"--by or --where cannot be applied to every image: {first_line(error)}.",
            do="Where a conversion fails, try_cast gives null.",
        ) from error


def _show_scored(opened: Opened, axes: Sequence[Axis], words: SweepWords) -> None:
    """Create the view `scored` that the queries read; `by` and `where` are checked expressions, and stand there."""
    by, where = _expression(opened, "--by", words.by), _expression(opened, "--where", words.where)
    asked = {axis.concept.name for axis in axes}.union(*(each.names for each in (by, where) if each))
    columns = [f'"{axis.concept.name}" as {name}' for axis, name in zip(axes, ("score", "other_score"), strict=False)]
    if by:
        columns.append(f"{by.sql} as group_name")
    source = opened.candidates_with(asked)
    kept = f" where {where.sql}" if where else ""
    query = f"create or replace temp view scored as select {', '.join(columns)} from {source}{kept}"  # noqa: S608
    opened.connection.execute(query)


def _expression(opened: Opened, what: str, text: str | None) -> Condition | None:
    """Return the checked expression of --by or --where."""
    if text is None:
        return None
    connection, known, scorable = opened.connection, opened.columns, shipped_names()
    expression = parse_condition(connection, text, f"{what} {text!r}")
    if what == "--where":
        check_condition(connection, "candidates", expression, known, scorable)
    else:
        kind_of(connection, "candidates", expression, known, scorable)
    return expression
