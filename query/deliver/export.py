"""An export: the manifests, which together are what the sources hold, and run_metadata.json.

The manifests depend on the store and the policy alone: the same store and policy give the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from query.deliver.manifests import MANIFESTS, Written, write_manifests
from query.opened import Opened
from query.rules.asked import Asked, put
from query.rules.decide import decide
from query.rules.flag import flag_groups
from query.rules.policies.kinds import columns_of
from query.rules.policies.policy import Policy
from query.rules.select import Selection, counted
from query.scoring.score_sets import ScoreSet
from sql import load
from store.errors import CountsDiffer
from store.layout import EncoderStore, new_run_id
from store.location import Location

METADATA = "run_metadata.json"


@dataclass(frozen=True)
class Run:
    """One export, as it was written."""

    run_id: str
    place: str
    policy: str
    removed: int
    kept: int
    quarantined: Mapping[str, int]  # by label
    errors: int
    pending: int  # of the errors: objects that no run has read yet
    listed: int
    rules: tuple[Mapping[str, Any], ...]  # number, rule, action, reason, decides, holds_for


def write_run(opened: Opened, policy: Policy, to: Location) -> Run:
    """Write what a policy decides as a run at `to`; nothing is visible before the counts add up."""
    with put(opened, policy) as asked, to.stage(last=METADATA) as folder:
        flag_groups(asked)
        selection = counted(asked)
        decide(asked)
        written = write_manifests(asked, folder, errors=selection.errors > 0)
        _prove(selection, written)
        run = Run(
            run_id=new_run_id(),
            place=to.uri,
            policy=policy.name,
            removed=selection.removed,
            kept=selection.kept,
            quarantined=selection.quarantined,
            errors=selection.errors,
            pending=written.pending,
            listed=selection.listed,
            rules=tuple(selection.rules.to_pylist()),
        )
        metadata = _metadata(run, asked)
        metadata["files"] = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        (folder / METADATA).write_text(json.dumps(metadata, indent=2, default=str) + "\n", encoding="utf-8")
    return run


def _prove(selection: Selection, written: Written) -> None:
    """Raise unless every listed object stands in exactly one manifest, and each is as long as was counted."""
    counts = (selection.removed, selection.kept, sum(selection.quarantined.values()), selection.errors)
    decided = sum(written.rows.values())
    if decided == written.distinct_uris == selection.listed and tuple(written.rows.values()) == counts:
        return
    rows = " + ".join(f"{name} {written.rows[name]:,}" for name in MANIFESTS)
    raise CountsDiffer(
        f"{rows[0].upper()}{rows[1:]} = {decided:,} rows with {written.distinct_uris:,} URIs, but the sources hold "
        f"{selection.listed:,} objects, and the policy was counted as {' + '.join(f'{n:,}' for n in counts)}.",
        "A manifest that does not account for every object cannot be defended, so nothing was written.",
        "Run `clipsieve verify STORE`.",
    )


def _metadata(run: Run, asked: Asked) -> dict[str, Any]:
    store, scored, policy = asked.opened.store, asked.opened.scored, asked.policy
    used = columns_of(policy.rules)
    concepts = scored.concepts if scored else ()
    counts = ("listed", "removed", "kept", "quarantined", "errors", "pending")
    return {
        "run_id": run.run_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": "clipsieve",
        "tool_version": version("clipsieve"),
        "store": store.location.uri,
        "store_state": store_state(store, scored),
        "sources": _sources(asked),
        "encoder": json.loads(store.encoder.to_json()),
        "warning": store.encoder.caution,
        "counts": {name: getattr(run, name) for name in counts},
        "policy": {"name": policy.name, "sha256": policy.sha256, "text": policy.text},
        "tables": [
            {"name": table.name, "path": str(table.path), "on": table.on, "sha256": _sha256(table.path)}
            for table in policy.tables
        ],
        "rules": list(run.rules),
        "concepts": [{**c.to_record(), "used_by_a_rule": c.name in used} for c in concepts],
    }


def _sources(asked: Asked) -> list[str]:
    rows = asked.connection.sql(load("deliver/sources")).fetchall()
    return [source for (source,) in rows]


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
