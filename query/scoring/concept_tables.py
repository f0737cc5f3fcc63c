"""Concepts as TOML: a table for each, its name the column of its scores; docs/concepts.md shows every kind.

    [concept.sunglasses]
    description = "the eyes are hidden by dark glasses"
    pool = "mean"
    positive = ["a face with dark sunglasses covering the eyes"]
    negative = ["a face with sunglasses pushed up on the forehead, eyes visible below"]
    threshold = 0.70

Which kind it is follows from its keys: `positive` and `negative`, or `prompt`, or `weight` or `weight_file`, or
`head_file`. Files are named relative to the TOML file.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from query.scoring.heads.files import read_head
from query.scoring.heads.known import same_tower
from query.scoring.heads.layers import Layers, NotAHead, linear
from query.scoring.kinds import Concept, Ensemble, Head, Prompt
from query.toml_lines import lines_of
from store.errors import UnknownName, UsageError
from store.schema import images_schema

_EVERY = ("description", "threshold")
_ENSEMBLE = ("positive", "negative", "pool")
_TRAINED = ("link", "range", "unit", "tower")
_LINEAR = ("weight", "weight_file", "bias", *_TRAINED)
_DENSE = ("head_file", "activation", *_TRAINED)
_KEYS = tuple(dict.fromkeys((*_EVERY, *_ENSEMBLE, "prompt", *_LINEAR, *_DENSE)))
_RESERVED = {
    *images_schema(1).names,
    *("folder", "group", "group_name", "label", "concept", "attribute", "score", "operator", "threshold"),
    *("rule", "rule_number", "fact", "decision", "reason", "quarantine"),
}
_COSINE = 0.25  # what a fitting text reaches with CLIP, see docs/concepts.md


@dataclass(frozen=True)
class _Source:
    """A TOML text, what to call it, and where the files lie that it names."""

    text: str
    where: str
    folder: Path
    origin: str

    def line(self, *path: str) -> str:
        """Return `, line 7` for a table or a key, empty where the text writes it in a way of its own."""
        line = lines_of(self.text).get(path)
        return f", line {line}" if line else ""


@dataclass(frozen=True)
class _Table:
    """One concept's table, and what is needed to say where in it a mistake stands."""

    name: str
    values: Mapping[str, Any]
    source: _Source

    def at(self, key: str | None = None) -> str:
        """Return `file, line 7, [concept.hat]`."""
        line = (self.source.line("concept", self.name, key) if key else "") or self.source.line("concept", self.name)
        return f"{self.source.where}{line}, [concept.{self.name}]"

    def wrong(self, key: str, fault: str, why: str = "", do: str = "") -> UsageError:
        """Return the error for the value of a key."""
        return UsageError(f"{self.at(key)}: {key} {fault}", why, do)


def parse_concepts(text: str, where: str, folder: Path = Path(), *, origin: str = "") -> list[Concept]:
    """Return the concepts of a TOML text that was found at `where`; files that it names lie in `folder`."""
    source = _Source(text, where, folder, origin)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}.") from error
    for key in document:
        if key != "concept":
            raise _unknown(f"{where}{source.line(key)}", key, ["concept"])
    tables = document.get("concept")
    if not isinstance(tables, dict) or not tables:
        raise UsageError(f"{where} holds no concept.", do="A concept starts with a line like [concept.sunglasses].")
    return [_concept(name, values, source) for name, values in tables.items()]


def _concept(name: str, values: object, source: _Source) -> Concept:
    table = _Table(name, values if isinstance(values, dict) else {}, source)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED | _sql_words():
        raise UsageError(
            f"{table.at()}: {name!r} cannot be a concept's name.",
            "The name becomes a column beside the image's own.",
            f"Use lowercase letters, digits and underscores, no word of SQL such as order, "
            f"and none of: {', '.join(sorted(_RESERVED))}.",
        )
    if not isinstance(values, dict):
        raise UsageError(f"{table.at()} is not a table.")
    for key in values:
        if key not in _KEYS:
            raise _unknown(table.at(key), key, _KEYS)
    kinds = (("head_file", _DENSE, _dense), ("weight", _LINEAR, _linear), ("weight_file", _LINEAR, _linear))
    for key, keys, make in (*kinds, ("prompt", ("prompt",), _prompt)):
        if key in values:
            _refuse_others(table, key, keys)
            return make(table)
    _refuse_others(table, "positive", _ENSEMBLE)
    return _ensemble(table)


def _ensemble(table: _Table) -> Ensemble:
    pool = table.values.get("pool", "mean")
    if pool not in {"mean", "softmax"}:
        raise table.wrong("pool", f"= {pool!r} is not known.", do='Write pool = "mean" or pool = "softmax".')
    return Ensemble(
        table.name,
        _texts(table, "positive"),
        _texts(table, "negative"),
        pool=pool,
        threshold=_threshold(table, Ensemble.range, 0.5),
        description=_text(table, "description"),
        origin=table.source.origin,
    )


def _prompt(table: _Table) -> Prompt:
    prompt = _text(table, "prompt")
    if not prompt.strip():
        raise table.wrong("prompt", "must be a text.")
    threshold = _threshold(table, Prompt.range, _COSINE)
    return Prompt(
        table.name, prompt, threshold=threshold, description=_text(table, "description"), origin=table.source.origin
    )


def _linear(table: _Table) -> Head:
    if "weight" in table.values and "weight_file" in table.values:
        raise table.wrong("weight_file", "stands beside weight.", do="Give one of them.")
    bias = table.values.get("bias")
    if bias is not None and not _is_number(bias):
        raise table.wrong("bias", f"= {bias!r} is no number.")
    if "weight" in table.values:
        weight = table.values["weight"]
        if not isinstance(weight, list) or not weight or not all(_is_number(value) for value in weight):
            raise table.wrong("weight", "must be a list of numbers, one for each dimension of the embedding.")
        return _head(table, _layers_of(table, "weight", np.array(weight, np.float64), bias or 0.0))
    layers = _file(table, "weight_file")
    if len(layers.dense) > 1 or layers.mean is not None:
        raise table.wrong("weight_file", "holds more than one vector.", do="Of a head with layers, say head_file.")
    if bias is not None:
        layers = _layers_of(table, "weight_file", layers.dense[0].weight, bias)
    return _head(table, layers)


def _dense(table: _Table) -> Head:
    return _head(table, _file(table, "head_file"))


def _head(table: _Table, layers: Layers) -> Head:
    link, activation = table.values.get("link", "sigmoid"), table.values.get("activation", "relu")
    if link not in {"identity", "sigmoid"}:
        raise table.wrong("link", f"= {link!r} is not known.", do='Write link = "sigmoid" or link = "identity".')
    if activation not in {"relu", "none"}:
        raise table.wrong("activation", f"= {activation!r} is not known.", do='Write "relu" or "none".')
    low, high = _range(table, link)
    return Head(
        table.name,
        layers.sha256,
        layers.shape,
        link=link,
        activation=activation,
        unit=_text(table, "unit") or ("probability" if link == "sigmoid" else "score"),
        range=(low, high),
        tower=same_tower(_text(table, "tower")),
        threshold=_threshold(table, (low, high), (low + high) / 2),
        description=_text(table, "description"),
        origin=table.source.origin,
        layers=layers,
    )


def _range(table: _Table, link: str) -> tuple[float, float]:
    found = table.values.get("range", [0, 1] if link == "sigmoid" else None)
    if found is None:
        raise table.wrong(
            "range",
            "is missing.",
            'With link = "identity" a score may be any number, and a sweep must know where to look.',
            "Write for example range = [1, 10].",
        )
    match found:
        case [low, high] if _is_number(low) and _is_number(high) and low < high:
            return float(low), float(high)
    raise table.wrong("range", "must be two numbers, the lower one first.")


def _threshold(table: _Table, within: tuple[float, float], otherwise: float) -> float:
    threshold = table.values.get("threshold", otherwise)
    low, high = within
    if not _is_number(threshold) or not low <= threshold <= high:
        raise table.wrong("threshold", f"= {threshold!r} is no number from {low:g} to {high:g}.")
    return float(threshold)


def _file(table: _Table, key: str) -> Layers:
    name = _text(table, key)
    try:
        return read_head(table.source.folder / Path(name).expanduser())
    except UsageError as error:
        raise UsageError(f"{table.at(key)}: {error}") from error


def _layers_of(table: _Table, key: str, weight: Any, bias: float) -> Layers:  # noqa: ANN401  # an array of any floats
    try:
        return linear(weight, bias)
    except NotAHead as error:
        raise table.wrong(key, f"cannot be used: {error}.") from error


def _texts(table: _Table, key: str) -> tuple[str, ...]:
    texts = table.values.get(key)
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise table.wrong(
            key,
            "must be a list of one or more texts.",
            "A score says which side of the question fits better, so it needs both.",
        )
    return tuple(texts)


def _text(table: _Table, key: str) -> str:
    value = table.values.get(key, "")
    if not isinstance(value, str):
        raise table.wrong(key, "must be a text.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse_others(table: _Table, kind: str, keys: Sequence[str]) -> None:
    for key in table.values:
        if key not in (*_EVERY, *keys):
            raise table.wrong(key, f"does not go with {kind}.", do=f"With {kind} go: {', '.join((*keys, *_EVERY))}.")


def _unknown(where: str, key: str, known: Sequence[str]) -> UnknownName:
    nearest = difflib.get_close_matches(key, known, 1, 0)[0]
    return UnknownName(f"{where}: the key {key!r} is not known.", do=f"The nearest is {nearest!r}.")


@cache
def _sql_words() -> set[str]:
    """Return the words that SQL keeps for itself: as a column, each would have to be quoted in every rule."""
    words = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    with duckdb.connect() as connection:
        return {word for (word,) in connection.execute(words).fetchall()}
