"""Scoring in tests: a run, its scores as SQL shows them, and the scores by the definition."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from query.scoring.concepts import find_concepts, shipped_concepts
from query.scoring.kinds import Concept, Ensemble, Head
from query.scoring.readout import Readout, readout_of
from query.scoring.score import ScoreReport, score
from query.scoring.score_sets import image_parts
from store.layout import EncoderStore
from store.parts import read_part
from store.schema import embedding_matrix
from tests.stores import (
    DIM,
    HashTower,
    ask,
    unit,
)


class Killed(BaseException):
    """The process ends here."""


def run(store: EncoderStore, *concepts: Concept, tower: HashTower | None = None, **more: Any) -> ScoreReport:
    """Score these concepts and return the report."""
    return score(store.refreshed(), concepts, (tower or HashTower()).of, **more)


def scores_of(store: EncoderStore, concept: str = "people") -> dict[str, float]:
    """The scores as `clipsieve sql` shows them, by key."""
    rows = ask(store).sql(f"select uri, {concept} as score from scores").to_pylist()  # noqa: S608
    return {row["uri"].removeprefix("s3://photos/"): row["score"] for row in rows}


def reference(store: EncoderStore, concept: Ensemble) -> dict[str, float]:
    """The scores by the definition in float64, by key: the positive side's share in a softmax of scaled cosines."""
    found: dict[str, float] = {}
    store = store.refreshed()
    for part in image_parts(store):
        table = read_part(store.location, f"images/{part}.parquet", ["key", "embedding"])
        table = table.filter(table["embedding"].is_valid())
        x = embedding_matrix(table["embedding"], store.encoder.embedding_dim).astype(np.float64)
        sides = []
        for texts in (concept.positive, concept.negative):
            vectors = np.stack([unit(text).astype(np.float64) for text in texts])
            if concept.pool == "mean":
                vectors = vectors.mean(axis=0, keepdims=True) / np.linalg.norm(vectors.mean(axis=0))
            sides.append(np.exp(store.encoder.logit_scale * (x @ vectors.T)).sum(axis=1))
        values = sides[0] / (sides[0] + sides[1])
        found.update(zip(table["key"].to_pylist(), values.tolist(), strict=True))
    return found


def shipped_ensemble(name: str) -> Ensemble:
    """A shipped concept, which is prompts for and against."""
    concept = shipped_concepts()[name]
    assert isinstance(concept, Ensemble)
    return concept


def other_wording(concept: Ensemble) -> Ensemble:
    """The concept under its name with another prompt."""
    return dataclasses.replace(concept, positive=("somebody else",))


def killing(at: int) -> Callable[[int, int], None]:
    """A progress call that ends the process after so many parts."""

    def on_part(done: int, _every: int) -> None:
        if done == at:
            raise Killed

    return on_part


def of_every_kind(folder: Path) -> list[Concept]:
    """Concepts of both pools, a prompt, linear weights with either link, and a head, all for the small stores."""
    rng = np.random.default_rng(5)
    arrays: dict[str, Any] = {
        "dense0.weight": rng.standard_normal((7, DIM)),
        "dense0.bias": rng.standard_normal(7),
        "dense1.weight": rng.standard_normal((1, 7)),
    }
    np.savez(folder / "head.npz", **arrays)
    np.save(folder / "w.npy", rng.standard_normal(DIM))
    (folder / "every.toml").write_text(
        """
        [concept.pooled]
        positive = ["a", "b"]
        negative = ["c"]
        [concept.competing]
        pool = "softmax"
        positive = ["a", "b"]
        negative = ["c", "d"]
        [concept.single]
        prompt = "a"
        [concept.probe]
        weight_file = "w.npy"
        bias = -0.5
        [concept.rating]
        weight_file = "w.npy"
        link = "identity"
        range = [-2, 2]
        [concept.small]
        head_file = "head.npz"
        """
    )
    return find_concepts([str(folder / "every.toml")], {})


def readouts(concepts: Sequence[Concept]) -> dict[str, Readout]:
    """What their scores are computed from."""
    vectors = {text: unit(text) for concept in concepts for text in concept.prompts}
    return {c.name: readout_of(c, vectors, 100.0, c.layers if isinstance(c, Head) else None) for c in concepts}


def states(store: EncoderStore) -> dict[str, str]:
    """The state of every concept, as `clipsieve concepts` shows it."""
    rows = ask(store).concepts().to_pylist()
    return {row["concept"]: row["state"] for row in rows}
