"""What a concept can be: a small closed set of frozen records, each a named question to an embedding.

Ensemble   prompts for it and against it; a probability
Prompt     one text; the cosine to it
Head       trained weights: one linear map, or a few dense layers; their own unit and range

A record says everything that a score depends on, arrays by their sha256; vectors and arrays lie in the store.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from query.scoring.heads.layers import Layers

Pool: TypeAlias = Literal["mean", "softmax"]
Link: TypeAlias = Literal["identity", "sigmoid"]
Activation: TypeAlias = Literal["relu", "none"]

SHIPPED = "shipped"
"""The origin of what comes with clipsieve: its wording may change with the version."""


@dataclass(frozen=True)
class _Question(ABC):
    name: str
    description: str = field(default="", kw_only=True)
    threshold: float = field(default=0.5, kw_only=True)  # a suggestion; no score depends on it
    origin: str = field(default="", kw_only=True)  # "shipped", the path of a TOML file, or empty

    type: ClassVar[str]  # in records

    @property
    @abstractmethod
    def kind(self) -> str:
        """What it is, in one or two words for a table."""

    @property
    @abstractmethod
    def content(self) -> list[Any]:
        """Everything that a score depends on, JSON-ready; name, description and threshold are not."""

    @property
    def content_hash(self) -> str:
        """Return the sha256 (16 hex digits) of everything that a score depends on."""
        return hashlib.sha256(json.dumps(self.content).encode()).hexdigest()[:16]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return every text of the concept."""
        return ()

    def to_record(self) -> dict[str, Any]:
        """Return the concept as JSON-ready values, with its content hash; of arrays the sha256."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        return {"type": self.type, **values, "content_hash": self.content_hash}


@dataclass(frozen=True)
class Ensemble(_Question):
    """Prompts for it and prompts against it: which side fits an image better.

    Pool "mean": softmax(logit_scale * [cos_pos, cos_neg])[0], cosines to the normalised mean of each side's vectors.
    Pool "softmax": every prompt competes by itself: the sum of exp(logit_scale * cos) over the positive prompts,
    divided by that over all.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    pool: Pool = field(default="mean", kw_only=True)

    type: ClassVar[str] = "ensemble"
    unit: ClassVar[str] = "probability"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @property
    def kind(self) -> str:
        """What it is, in one or two words for a table."""
        return f"prompts, {self.pool}"

    @property
    def content(self) -> list[Any]:
        """Everything that a score depends on."""
        return [self.pool, self.positive, self.negative]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return every text of the concept."""
        return (*self.positive, *self.negative)


@dataclass(frozen=True)
class Prompt(_Question):
    """One text: the score is the cosine to it. Real images lie at 0.15 to 0.35, whatever the text."""

    prompt: str

    type: ClassVar[str] = "prompt"
    unit: ClassVar[str] = "cosine"
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    @property
    def kind(self) -> str:
        """What it is, in one or two words for a table."""
        return "one prompt"

    @property
    def content(self) -> list[Any]:
        """Everything that a score depends on."""
        return ["prompt", self.prompt]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Return every text of the concept."""
        return (self.prompt,)


@dataclass(frozen=True)
class Head(_Question):
    """Trained weights: `link` of a linear map of the embedding, or of dense layers with `activation` between them.

    `layers` are the arrays themselves where they have just been read; else the store has them under their sha256.
    """

    weights_sha256: str
    shape: tuple[int, ...]  # widths from the embedding to the score, as (768, 64, 512, 256, 1)
    link: Link = field(kw_only=True)
    unit: str = field(kw_only=True)
    range: tuple[float, float] = field(kw_only=True)  # where scores are expected; one outside is kept as it is
    activation: Activation = field(default="relu", kw_only=True)
    tower: str = field(default="", kw_only=True)  # MODEL/PRETRAINED whose embeddings it was trained on, if it says so
    layers: Layers | None = field(default=None, kw_only=True, compare=False, repr=False)

    type: ClassVar[str] = "head"

    @property
    def dim(self) -> int:
        """Return D, the dimension of the embeddings that it takes."""
        return self.shape[0]

    @property
    def kind(self) -> str:
        """What it is, in one or two words for a table."""
        linear = len(self.shape) == len(("in", "out")) or self.activation == "none"
        return "linear" if linear else "dense layers"

    @property
    def content(self) -> list[Any]:
        """Everything that a score depends on."""
        return ["head", self.weights_sha256, self.activation, self.link]


Concept: TypeAlias = Ensemble | Prompt | Head

_TYPES: Mapping[str, type[Ensemble] | type[Prompt] | type[Head]] = {c.type: c for c in (Ensemble, Prompt, Head)}


def scale_of(concept: Concept) -> str:
    """Return unit and range as a person reads them: `rating, 1 to 10`."""
    low, high = concept.range
    return f"{concept.unit}, {low:g} to {high:g}"


def from_record(record: Mapping[str, Any]) -> Concept:
    """Return the concept that `to_record` wrote."""
    values = {key: value for key, value in record.items() if key not in {"type", "content_hash"}}
    tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    # The first stores had ensembles only, shipped ones among them, and did not say where they came from.
    concept: Concept = _TYPES[record.get("type", Ensemble.type)](**{"origin": SHIPPED, **values, **tuples})
    return concept
