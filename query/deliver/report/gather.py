"""What a report shows, asked of the store while the run is made: how scores lie, and which images to look at."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from query.rules.asked import Asked
from query.rules.nearest import nearest
from query.rules.policies.condition import Comparison, quoted
from query.rules.policies.kinds import KEEP
from sql import load

SEED = 1
BINS = 60
MOST_IMAGES = 480
"""Of all strips together. Thumbnails of 160 px take about 5 kB each."""
MOST_BYTES = 6_000_000
"""Of thumbnails; in the page they take a third more."""
_A_STRIP, _LEAST_OF_A_STRIP = 12, 3
_SAMPLE = 36
_MOST_CHARTS = 24


@dataclass(frozen=True)
class Threshold:
    """A line in a chart: what a rule compares the column with."""

    comparison: str  # as typed
    value: float
    goes_above: bool  # whether the comparison holds for what lies above
    rules: str  # the numbers of the rules


@dataclass(frozen=True)
class Chart:
    """How the values of one column lie, and the thresholds that cut them."""

    column: str
    unit: str  # of a score; of another column nothing
    low: float
    high: float
    counts: Sequence[int]
    thresholds: Sequence[Threshold]


@dataclass(frozen=True)
class Picture:
    """One image: its thumbnail (WebP, or none), what is said of it, and what became of it."""

    uri: str
    thumbnail: bytes | None
    score: float | None
    values: Mapping[str, float | None]  # what the policy compares, by column
    action: str  # keep, remove, quarantine LABEL
    rule: str | None


@dataclass(frozen=True)
class Strip:
    """Pictures under a title, with a sentence about them."""

    title: str
    note: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Gathered:
    """Everything that is shown beside the run's own facts."""

    charts: Sequence[Chart]
    certain: Sequence[Strip]
    near: Sequence[Strip]
    kept: Strip
    errors: Sequence[Mapping[str, Any]]  # reason, objects, example
    has_thumbnails: bool
    left_out: int  # pictures that would have made the page too large


@dataclass(frozen=True)
class _Wanted:
    """A strip before its images are looked up: their ids, and the score of each that it is about."""

    title: str
    note: str
    images: Sequence[tuple[uuid.UUID, float | None]]


def gather(asked: Asked) -> Gathered:
    """Look up what a report shows; the policy has been decided."""
    columns = _compared(asked)
    charts = [chart for name in list(columns)[:_MOST_CHARTS] if (chart := _chart(asked, name, columns[name]))]
    comparisons = sum(len(found) for found in columns.values())
    strips = len(asked.rules) + 2 * comparisons
    images = max(_LEAST_OF_A_STRIP, min(_A_STRIP, (MOST_IMAGES - _SAMPLE) // max(1, strips)))
    certain, near, kept = _certain(asked, images), _near(asked, images), _kept(asked)
    ids = {image_id for wanted in (*certain, *near, kept) for image_id, _ in wanted.images}
    facts = _facts(asked, ids, list(columns))
    thumbnails = _thumbnails(asked, ids)
    shown = _Shown(facts, thumbnails)
    return Gathered(
        charts=charts,
        kept=shown.strip(kept),  # first, as it is the one that nothing else shows
        near=[shown.strip(wanted) for wanted in near],
        certain=[shown.strip(wanted) for wanted in certain],
        errors=asked.connection.sql(load("report/error_counts")).to_arrow_table().to_pylist(),
        has_thumbnails=bool(thumbnails) or not ids,
        left_out=shown.left_out,
    )


class _Shown:
    """Pictures of what was looked up, as long as the page does not grow too large; each is counted once."""

    def __init__(self, facts: Mapping[uuid.UUID, Mapping[str, Any]], thumbnails: Mapping[uuid.UUID, bytes]) -> None:
        self._facts, self._thumbnails = facts, thumbnails
        self._bytes = 0
        self.left_out = 0

    def strip(self, wanted: _Wanted) -> Strip:
        pictures = [self._picture(*image) for image in wanted.images if image[0] in self._facts]
        return Strip(wanted.title, wanted.note, pictures)

    def _picture(self, image_id: uuid.UUID, score: float | None) -> Picture:
        facts = dict(self._facts[image_id])
        thumbnail = self._thumbnails.get(image_id)
        if thumbnail is not None and self._bytes + len(thumbnail) > MOST_BYTES:
            thumbnail, self.left_out = None, self.left_out + 1
        self._bytes += len(thumbnail or b"")
        said = {name: facts.pop(name) for name in ("uri", "becomes", "rule")}
        return Picture(said["uri"], thumbnail, score, facts, said["becomes"], said["rule"])


def _compared(asked: Asked) -> dict[str, list[tuple[int, Comparison]]]:
    """Return by column what rules compare it with, and the number of the rule; each comparison stands once a rule."""
    found: dict[str, list[tuple[int, Comparison]]] = {}
    for number, rule in asked.rules:
        for comparison in dict.fromkeys(one for condition in rule.about for one in condition.comparisons):
            found.setdefault(comparison.column, []).append((number, comparison))
    return found


def _chart(asked: Asked, column: str, compared: Sequence[tuple[int, Comparison]]) -> Chart | None:
    """Return the chart of a column; None where it holds no numbers."""
    concepts = asked.opened.scored.concepts if asked.opened.scored else ()
    concept = next((one for one in concepts if one.name.lower() == column), None)
    with _view(asked, "valued", f"select try_cast({quoted(column)} as double) as value from {asked.source}"):  # noqa: S608
        thresholds = [float(comparison.threshold) for _, comparison in compared]
        ((low, high),) = [concept.range] if concept else asked.connection.sql(load("report/ends")).fetchall()
        if low is None:
            return None
        low, high = min(low, *thresholds), max(high, *thresholds)
        low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
        given = {"low": low, "high": high, "bins": BINS}
        counts = dict(asked.connection.execute(load("report/histogram"), given).fetchall())
    unit = concept.unit if concept else ""
    return Chart(column, unit, low, high, [counts.get(k, 0) for k in range(BINS)], _thresholds(compared))


def _thresholds(compared: Sequence[tuple[int, Comparison]]) -> list[Threshold]:
    """Return each comparison once, with the rules that make it."""
    rules: dict[str, list[int]] = {}
    of = {str(comparison): comparison for _, comparison in compared}
    for number, comparison in compared:
        rules.setdefault(str(comparison), []).append(number)
    return [
        Threshold(text, float(of[text].threshold), of[text].operator[0] == ">", ", ".join(map(str, numbers)))
        for text, numbers in rules.items()
    ]


def _certain(asked: Asked, images: int) -> list[_Wanted]:
    """Return the images that each rule decides with the most to spare."""
    strips = []
    for number, rule in asked.rules:
        if rule.decision == KEEP:
            continue
        given = {"rule": number, "images": images}
        found = asked.connection.execute(load("report/certain"), given).fetchall()
        order = "the furthest from the threshold first" if rule.facts else "in an order that means nothing"
        if found:
            strips.append(_Wanted(f"{number} {rule.name}", f"{rule.action}: {rule.reason}; {order}.", found))
    return strips


def _near(asked: Asked, images: int) -> list[_Wanted]:
    """Return the images on either side of each threshold; what two rules share is shown once."""
    nearest(asked, images)
    rows = asked.connection.view("near").to_arrow_table().to_pylist()
    strips: dict[tuple[Any, ...], list[str]] = {}
    for (number, rule, _, comparison, holds), near in groupby(
        rows, itemgetter("number", "rule", "place", "comparison", "holds")
    ):
        found = tuple((row["image_id"], row["score"]) for row in near)
        strips.setdefault((comparison, holds, found), []).append(f"{number} {rule}")
    return [
        _Wanted(
            f"{comparison}: {'holds, by the least' if holds else 'does not hold, by the least'}",
            f"Of the images for which it matters to {' and '.join(dict.fromkeys(rules))}; the nearest first.",
            found,
        )
        for (comparison, holds, found), rules in strips.items()
    ]


def _kept(asked: Asked) -> _Wanted:
    asked.opened.hold([])
    found = asked.connection.execute(load("report/kept"), {"seed": SEED, "images": _SAMPLE}).fetchall()
    note = "Drawn at random from everything that is kept: the place where misses hide."
    return _Wanted("Kept", f"{note} The same store and policy give the same sample.", [(one, None) for (one,) in found])


def _facts(asked: Asked, ids: set[uuid.UUID], columns: Sequence[str]) -> dict[uuid.UUID, dict[str, Any]]:
    numbers = "".join(f", try_cast({quoted(column)} as double) as {quoted(column)}" for column in columns)
    with _view(asked, "compared_values", f"select image_id{numbers} from {asked.source}"):  # noqa: S608
        found = asked.connection.sql(load("report/shown"), params={"image_ids": [str(one) for one in ids]})
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return {row.pop("image_id"): row for row in rows}


def _thumbnails(asked: Asked, ids: set[uuid.UUID]) -> dict[uuid.UUID, bytes]:
    given = {"image_ids": [str(one) for one in ids]}
    rows = asked.connection.sql(load("asking/thumbnails"), params=given).to_arrow_table().to_pylist()
    return {row["image_id"]: row["webp"] for row in rows}


@contextmanager
def _view(asked: Asked, name: str, query: str) -> Iterator[None]:
    asked.connection.execute(f"create or replace temp view {name} as {query}")
    try:
        yield
    finally:
        asked.connection.execute(f"drop view if exists {name}")
