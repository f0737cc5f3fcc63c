"""Concepts: named questions to an embedding, kept as TOML.

    [concept.sunglasses]
    description = "the eyes are hidden by dark glasses"
    pool = "mean"
    positive = ["a face with dark sunglasses covering the eyes"]
    negative = ["a face with sunglasses pushed up on the forehead, eyes visible below"]
    threshold = 0.70

The name is the score's column. The threshold is a suggestion for rules and sweeps; no score depends on it.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from store.errors import UnknownName, UsageError
from store.schema import images_schema

Vector = npt.NDArray[np.float32]

_KEYS = ("description", "pool", "positive", "negative", "threshold")
_RESERVED = {*images_schema(1).names, "rule", "decision", "score", "threshold"}


@dataclass(frozen=True)
class Concept:
    """A named question: an ensemble of prompts for it and one against it."""

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    description: str = ""
    pool: str = "mean"
    threshold: float = 0.5

    @property
    def content_hash(self) -> str:
        """Return the sha256 (16 hex digits) of everything that a score depends on; name and threshold are not."""
        content = [self.pool, self.positive, self.negative]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return every text of the concept."""
        return (*self.positive, *self.negative)

    def weight(self, vectors: Mapping[str, Vector], logit_scale: float) -> Vector:
        """Return (D,) float32 w with score = sigmoid(w . x): logit_scale times the difference of the two ensembles.

        An ensemble is the mean of its prompts' vectors, normalised again, as CLIP's authors pool class prompts:
        https://github.com/openai/CLIP/blob/main/notebooks/Prompt_Engineering_for_ImageNet.ipynb
        """
        difference = _ensemble(self.positive, vectors) - _ensemble(self.negative, vectors)
        return (logit_scale * difference).astype(np.float32)

    def to_record(self) -> dict[str, Any]:
        """Return the concept as JSON-ready values, with its content hash."""
        return {**asdict(self), "content_hash": self.content_hash}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Concept":
        """Return the concept that `to_record` wrote."""
        values = {key: value for key, value in record.items() if key != "content_hash"}
        return cls(**{**values, "positive": tuple(values["positive"]), "negative": tuple(values["negative"])})


def shipped_concepts() -> dict[str, Concept]:
    """Return the concepts that come with clipsieve, by name."""
    folder = files(__package__).joinpath("shipped")
    texts = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".toml")}
    return {c.name: c for name in sorted(texts) for c in parse_concepts(texts[name], name)}


def find_concepts(words: list[str] | tuple[str, ...], known: Mapping[str, Concept]) -> list[Concept]:
    """Return the concepts that the words of a command mean: names in `known`, or TOML files with one or several.

    Raise UnknownName for a name that is neither, with the nearest known one.
    """
    found: dict[str, Concept] = {}
    for word in words:
        concepts = _read_file(Path(word)) if word.endswith(".toml") else [_named(word, known)]
        found.update((concept.name, concept) for concept in concepts)
    return list(found.values())


def parse_concepts(text: str, where: str) -> list[Concept]:
    """Return the concepts of one TOML file; raise UsageError or UnknownName with the place of the fault."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}.") from error
    _refuse_unknown(document, ("concept",), where)
    tables = document.get("concept")
    if not isinstance(tables, dict) or not tables:
        raise UsageError(f"{where} holds no concept.", do="A concept starts with a line like [concept.sunglasses].")
    return [_concept(name, table, f"{where}, [concept.{name}]") for name, table in tables.items()]


def _concept(name: str, table: object, where: str) -> Concept:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _RESERVED | _sql_words():
        raise UsageError(
            f"{where}: {name!r} cannot be a concept's name.",
            "The name becomes a column beside the image's own.",
            f"Use lowercase letters, digits and underscores, no word of SQL such as order, "
            f"and none of: {', '.join(sorted(_RESERVED))}.",
        )
    if not isinstance(table, dict):
        raise UsageError(f"{where} is not a table.")
    _refuse_unknown(table, _KEYS, where)
    pool, threshold = table.get("pool", "mean"), table.get("threshold", 0.5)
    if pool != "mean":
        raise UsageError(f"{where}: pool = {pool!r} is not known.", do='Write pool = "mean".')
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UsageError(f"{where}: threshold = {threshold!r} is no number from 0 to 1.")
    return Concept(
        name=name,
        positive=_texts(table, "positive", where),
        negative=_texts(table, "negative", where),
        description=str(table.get("description", "")),
        pool=pool,
        threshold=float(threshold),
    )


@cache
def _sql_words() -> set[str]:
    """Return the words that SQL keeps for itself: as a column, each would have to be quoted in every rule."""
    words = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    with duckdb.connect() as connection:
        return {word for (word,) in connection.execute(words).fetchall()}


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    texts = table.get(key)
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise UsageError(
            f"{where}: {key} must be a list of one or more texts.",
            "A score says which side of the question fits better, so it needs both.",
        )
    return tuple(texts)


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, 1, 0)[0]
            raise UnknownName(f"{where}: the key {key!r} is not known.", do=f"The nearest is {nearest!r}.")


def _named(word: str, known: Mapping[str, Concept]) -> Concept:
    if word not in known:
        nearest = difflib.get_close_matches(word, known, 1, 0)
        raise UnknownName(
            f"There is no concept {word!r}.",
            do=f"Known: {', '.join(known)}."
            + (f" Nearest: {nearest[0]}." if nearest else "")
            + " A concept of your own is a TOML file: give its path, ending in .toml.",
        )
    return known[word]


def _read_file(path: Path) -> list[Concept]:
    try:
        return parse_concepts(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the concept file {path}: {error}.") from error


def _ensemble(texts: tuple[str, ...], vectors: Mapping[str, Vector]) -> npt.NDArray[np.float64]:
    mean = np.mean([vectors[text].astype(np.float64) for text in texts], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))
