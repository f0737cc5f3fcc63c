"""What `apply --in-place` has moved aside below a source's folder: no images of the source any more.

ROOT/_clipsieve/<run_id>/applied.json   whose doing it is; `aside` names the folders beside it that hold what was moved
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

OWN = "_clipsieve"
"""The folder below the root that holds the originals of changed manifests and archives until `undo`."""
RECORD = "applied.json"


def applied_below(root: Path) -> dict[str, Mapping[str, Any]]:
    """Return the records of the runs that are applied below a root, by run."""
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((root / OWN).glob(f"*/{RECORD}")):
        with suppress(ValueError, OSError):
            found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def moved_aside(folder: bytes) -> set[bytes]:
    """Return the names of the folders below a folder that hold what was moved aside, and of our own."""
    records = applied_below(Path(os.fsdecode(folder))).values()
    return {os.fsencode(name) for record in records for name in (OWN, *record.get("aside", ()))}
