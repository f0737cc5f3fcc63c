"""An export: removed.csv, kept.csv and errors.csv, which together are what the sources hold, and run_metadata.json.

The CSVs depend on the store and the rules alone: the same store and rules give the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from query.rules.rule import Rule
from query.scoring.score_sets import ScoreSet
from sql import load
from store.errors import CountsDiffer, LocationError
from store.layout import EncoderStore, new_run_id
from store.location import Location

METADATA = "run_metadata.json"


@dataclass(frozen=True)
class Run:
    """One export, as it was written."""

    run_id: str
    place: str
    removed: int
    kept: int
    errors: int
    pending: int  # of the errors: objects that no run has read yet
    listed: int
    rules: tuple[Mapping[str, Any], ...]  # number, rule, removed


def write_run(
    connection: duckdb.DuckDBPyConnection,
    store: EncoderStore,
    scored: ScoreSet | None,
    rules: Sequence[Rule],
    to: Location,
) -> Run:
    """Write the table `decisions` of this connection as a run at `to`; nothing is visible before the counts add up."""
    counts = connection.sql(load("deliver/counts")).to_arrow_table().to_pylist()[0]
    rule_counts = connection.sql(load("deliver/rule_counts")).to_arrow_table().to_pylist()
    _prove(counts)
    run = Run(
        run_id=new_run_id(),
        place=to.uri,
        removed=counts["removed"],
        kept=counts["kept"],
        errors=counts["errors"],
        pending=counts["pending"],
        listed=counts["listed"],
        rules=tuple(rule_counts),
    )
    with to.stage(last=METADATA) as folder:
        _write_manifests(connection, folder)
        metadata = _metadata(run, store, scored, rules)
        metadata["files"] = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        (folder / METADATA).write_text(json.dumps(metadata, indent=2, default=str) + "\n", encoding="utf-8")
    return run


def _write_manifests(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    manifests = {
        "removed.csv": connection.sql(load("deliver/images"), params={"decision": "remove"}),
        "kept.csv": connection.sql(load("deliver/images"), params={"decision": "keep"}),
        "errors.csv": connection.sql(load("deliver/errors")),
    }
    for name, rows in manifests.items():
        try:
            rows.write_csv(str(folder / name))
        except duckdb.IOException as error:
            raise LocationError(
                f"Cannot write {name}: {' '.join(str(error).split())[:200]}.",
                "Nothing of the run is visible.",
                "Free some space, or run `clipsieve verify STORE` if it is the store that cannot be read.",
            ) from error


def _prove(counts: Mapping[str, int]) -> None:
    """Raise unless every listed object stands in exactly one manifest."""
    decided = counts["removed"] + counts["kept"] + counts["errors"]
    if not decided == counts["listed"] == counts["distinct_uris"]:
        raise CountsDiffer(
            f"Removed {counts['removed']:,} + kept {counts['kept']:,} + errors {counts['errors']:,} = {decided:,}, but "
            f"the sources hold {counts['listed']:,} objects under {counts['distinct_uris']:,} URIs.",
            "A manifest that does not account for every object cannot be defended, so nothing was written.",
            "Run `clipsieve verify STORE`.",
        )


def _metadata(run: Run, store: EncoderStore, scored: ScoreSet | None, rules: Sequence[Rule]) -> dict[str, Any]:
    used = set().union(*(rule.columns for rule in rules))
    concepts = scored.concepts if scored else ()
    return {
        "run_id": run.run_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": "clipsieve",
        "tool_version": version("clipsieve"),
        "store": store.location.uri,
        "store_state": store_state(store, scored),
        "encoder": json.loads(store.encoder.to_json()),
        "warning": store.encoder.caution,
        "counts": {
            "listed": run.listed,
            "removed": run.removed,
            "kept": run.kept,
            "errors": run.errors,
            "pending": run.pending,
        },
        "rules": list(run.rules),
        "concepts": [{**c.to_record(), "used_by_a_rule": c.name in used} for c in concepts],
    }


def store_state(store: EncoderStore, scored: ScoreSet | None) -> dict[str, Any]:
    """Return what identifies the state of the store that a run was made from: its parts, listings and score set."""
    names = [*store.parts("images"), *store.newest_listings(), scored.set_id if scored else ""]
    return {
        "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
        "image_parts": len(store.parts("images")),
        "listings": store.newest_listings(),
        "score_set": scored.set_id if scored else None,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
