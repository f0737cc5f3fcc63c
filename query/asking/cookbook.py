"""The cookbook: questions by name, each a file of `sql/cookbook` whose header says what may be set.

    -- The images that fit a concept best.
    -- Grain: one row per image, the highest score first. Parameters: $concept (people), $rows (20).

What stands in parentheses is the default, and its kind is the parameter's; a parameter without one must be given.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from query.asking.headers import parameters, sentence
from query.scoring.concepts import shipped_names
from sql import load, names
from store.errors import NotScored, UnknownName, UsageError

Value = str | int | float

_FOLDER = "cookbook"


@dataclass(frozen=True)
class Recipe:
    """One question: its name, what it answers in one sentence, its parameters with their defaults, and its SQL."""

    name: str
    sentence: str
    parameters: Mapping[str, Value | None]  # None where it must be given
    query: str

    @property
    def words(self) -> str:
        """Return the parameters as one types them: `concept=people threshold=0.5 text=…`."""
        return " ".join(f"{name}={'…' if value is None else value}" for name, value in self.parameters.items())

    def bind(self, given: Mapping[str, Value], scored: Sequence[str]) -> dict[str, Value]:
        """Return a value for every parameter; raise where one is unknown, missing, of the wrong kind, or no concept.

        `scored` are the concepts that have scores.
        """
        for name in given:
            if name not in self.parameters:
                raise self._unknown(name)
        values: dict[str, Value] = {}
        for name, default in self.parameters.items():
            values[name] = _of_kind(f"{self.name}: {name}", given.get(name, default), default)
            if name.endswith("concept"):
                _require_scored(str(values[name]), scored, name)
        return values

    def _unknown(self, name: str) -> UnknownName:
        nearest = difflib.get_close_matches(name, self.parameters, 1, 0)
        return UnknownName(
            f"{self.name} has no parameter {name!r}.",
            do=f"It has: {self.words}. Nearest: {nearest[0]}." if nearest else "It has none.",
        )


def recipes() -> list[Recipe]:
    """Return every question of the cookbook, sorted by name."""
    return [_read(name.removeprefix(f"{_FOLDER}/")) for name in names(_FOLDER)]


def find_recipe(name: str) -> Recipe:
    """Return the question of that name; raise UnknownName with the nearest one where there is none."""
    known = [recipe.name for recipe in recipes()]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, 1, 0)
        raise UnknownName(
            f"The cookbook has no {name!r}.", do=f"Nearest: {nearest[0]}. `clipsieve sql --cookbook` lists all."
        )
    return _read(name)


def parse_settings(words: Sequence[str]) -> dict[str, Value]:
    """Return the values that `name=value` words set; the first `=` parts them."""
    settings: dict[str, Value] = {}
    for word in words:
        name, found, value = word.partition("=")
        if not found or not name.strip():
            raise UsageError(f"{word!r} sets nothing.", do="Write name=value, for example concept=people.")
        settings[name.strip().removeprefix("$")] = value
    return settings


def _read(name: str) -> Recipe:
    query = load(f"{_FOLDER}/{name}")
    found = {parameter: _kind(default) for parameter, default in parameters(query).items()}
    return Recipe(name, sentence(query), found, query)


def _kind(default: str | None) -> Value | None:
    """Return a default as what it is written as: 20 a whole number, 0.5 a number, anything else a text."""
    if default is None:
        return None
    for kind in (int, float):
        try:
            return kind(default)
        except ValueError:
            continue
    return default


def _of_kind(what: str, value: Value | None, default: Value | None) -> Value:
    """Return a value as the kind of thing that the default is."""
    if value is None:
        raise UsageError(f"{what} is missing.", do=f"Give it: {what.rpartition(' ')[2]}=…")
    if default is None or isinstance(default, str):
        return str(value)
    kind = "whole number" if isinstance(default, int) else "number"
    try:
        number = type(default)(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (isinstance(value, float) and number != value):
        raise UsageError(f"{what} must be a {kind}, not {value!r}.")
    return number


def _require_scored(concept: str, scored: Sequence[str], parameter: str) -> None:
    if concept in scored:
        return
    if concept in shipped_names():
        raise NotScored(
            f"{concept} has no scores yet.",
            do=f"Run `clipsieve score STORE {concept}`" + (f", or set {parameter}={scored[0]}." if scored else "."),
        )
    nearest = difflib.get_close_matches(concept, scored, 1, 0)
    raise UnknownName(
        f"There are no scores of {concept!r} in this store.",
        do=f"Scored: {', '.join(scored)}. Nearest: {nearest[0]}." if nearest else "Run `clipsieve score STORE`.",
    )
