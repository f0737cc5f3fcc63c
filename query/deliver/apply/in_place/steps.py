"""The steps of an application in place, as the journal notes them before the first is taken."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from query.deliver.apply.in_place.tree import encoded, plain
from query.deliver.apply.journal import Journal
from query.deliver.apply.tables import Tables
from store.aside import OWN, RECORD, applied_below

STEPS = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # move, rewrite, make (a folder), empty (a folder that may go)
        pa.field("path", pa.string(), nullable=False),  # below the root, percent-encoded, as is `to_path`
        pa.field("to_path", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime_ns", pa.int64()),
        pa.field("mode", pa.int32()),
        pa.field("sha256", pa.string()),  # of what a rewrite wrote
        pa.field("noted_at", pa.timestamp("us", "UTC"), nullable=False),
    ]
)


@dataclass(frozen=True)
class Noted:
    """What the journal holds of one root. Paths are as the system spells them."""

    moves: dict[str, dict[str, Any]] = field(default_factory=dict)  # by path
    rewrites: dict[str, set[str]] = field(default_factory=dict)  # by path: sha256 of all that was written in its stead
    places: dict[str, str] = field(default_factory=dict)  # by path of a rewrite: where it was written
    made: list[str] = field(default_factory=list)  # folders
    modes: dict[str, int] = field(default_factory=dict)  # of folders that may have gone


def read_steps(tables: Tables, journal: Journal) -> Noted:
    """Return what the journal holds."""
    journal.view(tables.connection)
    noted = Noted()
    for row in tables.rows("steps"):
        path = plain(row["path"])
        match row["kind"]:
            case "move":
                noted.moves[path] = {**row, "to_path": plain(row["to_path"])}
            case "rewrite":
                noted.rewrites.setdefault(path, set()).add(row["sha256"])
                noted.places[path] = plain(row["to_path"])
            case "make":
                noted.made.append(path)
            case "empty":
                noted.modes[path] = row["mode"]
    return noted


@dataclass(frozen=True)
class Workplace:
    """The folder below the root that belongs to one run: originals, and what is written before it takes their place."""

    root: Path
    run_id: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / OWN / self.run_id

    def original(self, path: str) -> Path:
        """Where the original of a changed file lies, under a name that nobody takes for a manifest or an archive."""
        return self.folder / "originals" / f"{path}.original"

    def staged(self) -> Path:
        """Return the name of a new file, on the same disk as its target."""
        folder = self.folder / "staged"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(8)

    def open(self, record: Mapping[str, Any]) -> None:
        """Say whose folder this is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / RECORD).exists():
            (self.folder / RECORD).write_text(json.dumps(dict(record), indent=2) + "\n", encoding="utf-8")

    def others(self) -> list[str]:
        """Return the runs that were applied below this root after this one, the latest last."""
        begun = {run: str(record.get("begun_at", "")) for run, record in applied_below(self.root).items()}
        mine = begun.get(self.run_id, "")
        return sorted(
            (run for run, at in begun.items() if run != self.run_id and at > mine), key=lambda run: begun[run]
        )


def step(kind: str, path: str, to_path: str | None = None, **facts: Any) -> dict[str, Any]:
    """Return one row for the journal."""
    return {"kind": kind, "path": encoded(path), "to_path": encoded(to_path) if to_path else None, **facts}
