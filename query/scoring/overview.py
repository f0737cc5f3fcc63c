"""Every concept that a store knows: what it is, whether its scores are up to date, and how they are spread."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from query.opened import Opened
from query.scoring.kinds import Concept
from query.scoring.score import as_it_is_now, concepts_of, known_concepts
from query.scoring.score_sets import ScoreSet, image_parts, read_sets
from sql import load
from store.errors import UsageError
from store.layout import EncoderStore

_TEXT = ("concept", "kind", "state", "unit")
_SPREAD = ("lowest", "p05", "p50", "p95", "highest", "mean", "at_or_above")
_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _TEXT),
        *(pa.field(name, pa.float64()) for name in ("low", "high", "threshold", *_SPREAD)),
        pa.field("description", pa.string()),
    ]
)


def overview(opened: Opened) -> pa.Table:
    """Return one row per concept: what it asks, its state, its expected range from low to high, and its distribution.

    `at_or_above` is the share of images that meet the threshold. The distribution is that of the cached scores, also
    where they are stale. Columns: concept, kind, state, unit, low, high, threshold, lowest, p05, p50, p95, highest,
    mean, at_or_above, description.
    """
    store = opened.store
    held = concepts_of(store)
    sets = read_sets(store)
    concepts = {**known_concepts(store), **held}
    spread = _distributions(opened, concepts)
    rows = []
    for name in sorted(concepts, key=lambda name: (name not in held, name)):
        concept = concepts[name]
        rows.append(
            {
                "concept": name,
                "kind": concept.kind,
                "state": _state(store, concept, sets) if name in held else "not scored",
                "unit": concept.unit,
                "low": concept.range[0],
                "high": concept.range[1],
                "threshold": concept.threshold,
                **spread.get(name, {}),
                "description": concept.description,
            }
        )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _state(store: EncoderStore, held: Concept, sets: Sequence[ScoreSet]) -> str:
    """Return whether the cached scores are those of the concept as it is today, of every part."""
    try:
        wanted = as_it_is_now(held, store.encoder)
    except UsageError:
        return "stale (its file cannot be understood)"
    parts = len(image_parts(store))
    done = [len(s.parts) for s in sets if s.hash_of(held.name) == wanted.content_hash]
    if not done:
        return "stale"
    return "scored" if max(done) == parts else f"scored in {max(done)} of {parts} parts"


def _distributions(opened: Opened, concepts: dict[str, Concept]) -> dict[str, dict[str, Any]]:
    names = opened.scored.names if opened.scored else ()
    parameters = {"concepts": list(names), "thresholds": [concepts[name].threshold for name in names]}
    found = opened.connection.sql(load("scoring/distribution"), params=parameters).to_arrow_table().to_pylist()
    return {row.pop("concept"): row for row in found}
