"""What is in a store: sources, outcomes, scores, size, runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from query.scoring.score_sets import ScoreSet, image_parts
from sql import load
from store.layout import EncoderStore


@dataclass(frozen=True)
class Status:
    """The state of one encoder of a store, as numbers and JSON-ready records."""

    store: str
    encoder: Mapping[str, Any]  # encoder_id and the fields of encoder.json
    sources: tuple[Mapping[str, Any], ...]  # one per source, counts by outcome, size_bytes
    errors: tuple[Mapping[str, Any], ...]  # one per error code
    runs: tuple[Mapping[str, Any], ...]  # one per embed run, the newest last
    measurements: tuple[Mapping[str, Any], ...]  # one per detector and label
    scores: tuple[Mapping[str, Any], ...]  # one per concept: concept, threshold, parts, of_parts
    parts: int
    size_bytes: Mapping[str, int]  # by folder of the store
    images_recorded: int  # also those that the sources no longer hold
    no_longer_listed: int


def read_status(connection: duckdb.DuckDBPyConnection, store: EncoderStore, scored: ScoreSet | None) -> Status:
    """Return the status; the views must exist on the connection."""
    recorded, gone = connection.execute(load("status/recorded")).fetchall()[0]
    encoder = store.encoder
    parts = len(image_parts(store))
    concepts = scored.concepts if scored else ()
    return Status(
        store=store.location.uri,
        encoder={"encoder_id": encoder.encoder_id, "random_weights": encoder.random_weights, **vars(encoder)},
        sources=_rows(connection, "status/sources"),
        errors=_rows(connection, "status/errors"),
        runs=_rows(connection, "status/runs"),
        measurements=_rows(connection, "status/measurements"),
        scores=tuple(
            {
                "concept": c.name,
                "threshold": c.threshold,
                "parts": len(scored.parts) if scored else 0,
                "of_parts": parts,
            }
            for c in concepts
        ),
        parts=parts,
        size_bytes=_sizes(store),
        images_recorded=recorded,
        no_longer_listed=gone,
    )


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(connection.sql(load(name)).to_arrow_table().to_pylist())


def _sizes(store: EncoderStore) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for entry in store.location.files():
        folder = entry.name.split("/")[0] if "/" in entry.name else "."
        sizes[folder] = sizes.get(folder, 0) + entry.size_bytes
    return sizes
