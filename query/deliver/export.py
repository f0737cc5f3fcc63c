"""An export: a run's folder with the manifests, which together are what the sources hold, and all that explains them.

    PLACE/<run_id>/  removed.csv removed.parquet …   one of each for kept, quarantined and errors; .jsonl on request
                     policy.toml                     what decided, as it can be given to `export` again
                     report.html                     the counts, the scores and the images to look at
                     run_metadata.json               where it all comes from, and the sha256 of every other file

The manifests depend on the store and the policy alone: the same store and policy give the same bytes. Presigned URLs
depend on the time as well.
"""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from query.deliver.links import Links
from query.deliver.manifests import MANIFESTS, Written, write_manifests
from query.deliver.policy_file import as_toml
from query.deliver.report.gather import gather
from query.deliver.report.page import render
from query.opened import Opened
from query.rules.asked import Asked, put
from query.rules.decide import decide
from query.rules.duplicated import asked_pairs
from query.rules.flag import flag_groups
from query.rules.policies.kinds import columns_of
from query.rules.policies.policy import Policy
from query.rules.select import Selection, counted
from query.scoring.score_sets import ScoreSet
from sql import load
from store.errors import CountsDiffer, UsageError
from store.layout import EncoderStore, new_run_id
from store.location import Location
from store.s3.options import S3Options

METADATA, POLICY, REPORT = "run_metadata.json", "policy.toml", "report.html"


@dataclass(frozen=True)
class ExportWords:
    """What an export is asked for beside its policy; everything may be left out."""

    s3: S3Options = field(default_factory=S3Options)
    jsonl: bool = False
    presign: timedelta | None = None  # how long the URLs last
    parquet: bool = True
    report: bool = True


@dataclass(frozen=True)
class Run:
    """One export, as it was written."""

    run_id: str
    place: str  # the run's own folder
    files: tuple[str, ...]
    policy: str
    removed: int
    kept: int
    quarantined: Mapping[str, int]  # by label
    errors: int
    pending: int  # of the errors: objects that no run has read yet
    listed: int
    rules: tuple[Mapping[str, Any], ...]  # number, rule, action, reason, decides, holds_for
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what is less than it could be, and does no harm


def write_run(opened: Opened, policy: Policy, to: Location, words: ExportWords) -> Run:
    """Write what a policy decides as a run below `to`; nothing is visible before the counts add up."""
    _refuse_store(opened.store, to)
    run_id = new_run_id(label=Path(policy.name).stem)
    place = to.child(run_id)
    with put(opened, policy) as asked, place.stage(last=METADATA) as folder:
        flag_groups(asked)
        selection = counted(asked)
        decide(asked)
        links = Links.of(_buckets(asked), words.s3, words.presign)
        forms = {"parquet": words.parquet, "jsonl": words.jsonl}
        written = write_manifests(asked, folder, links, errors=selection.errors > 0, **forms)
        _prove(selection, written)
        run = Run(
            run_id=run_id,
            place=place.uri,
            files=(),
            policy=policy.name,
            removed=selection.removed,
            kept=selection.kept,
            quarantined=selection.quarantined,
            errors=selection.errors,
            pending=written.pending,
            listed=selection.listed,
            rules=tuple(selection.rules.to_pylist()),
            warnings=tuple(links.warnings),
            notes=tuple(links.notes),
        )
        metadata = _metadata(run, asked, links)
        (folder / POLICY).write_bytes(as_toml(policy).encode())
        if words.report:
            (folder / REPORT).write_bytes(render(metadata, gather(asked)))
        metadata["files"] = _hashes(folder)
        (folder / METADATA).write_text(json.dumps(metadata, indent=2, default=str) + "\n", encoding="utf-8")
    return replace(run, files=(*metadata["files"], METADATA))


def _refuse_store(store: EncoderStore, to: Location) -> None:
    """Raise UsageError for a place among the store's own files; `STORE/runs` is none of these."""
    own = store.location.uri
    if to.uri in {own, own.rpartition("/")[0]} or to.uri.startswith(f"{own}/"):
        raise UsageError(
            f"{to.uri} is a store.",
            "Between its own files nobody looks for a run.",
            f"Give --to another place, for example {own.rpartition('/')[0]}/runs.",
        )


def _buckets(asked: Asked) -> list[str]:
    return [bucket for (bucket,) in asked.connection.sql(load("deliver/buckets")).fetchall()]


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


def _metadata(run: Run, asked: Asked, links: Links) -> dict[str, Any]:
    store, scored, policy = asked.opened.store, asked.opened.scored, asked.policy
    used = columns_of(policy.rules)
    concepts = scored.concepts if scored else ()
    counts = ("listed", "removed", "kept", "quarantined", "errors", "pending")
    return {
        "run_id": run.run_id,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "presigned_until": links.signer.until.isoformat(timespec="seconds") if links.signer else None,
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
        "neighbors": asked_pairs(asked),
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


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor() as pool:
        return {path.name: sha256 for path, sha256 in zip(files, pool.map(_sha256, files), strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
