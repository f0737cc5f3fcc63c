"""A tree of face sets, drawn from a seed: groups of images with a manifest and an archive, and a master manifest."""

import hashlib
import json
import os
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.runs import write_run

NAMES = ("file", "path", "filename", "image")


@dataclass(frozen=True)
class FaceSets:
    """A tree, and what a run decides about it, by path below the root."""

    root: Path
    removed: frozenset[str]
    quarantined: Mapping[str, str]  # path: label
    images: tuple[str, ...]

    @property
    def source(self) -> str:
        """The tree as a source."""
        return f"file://{quote(str(self.root))}/"

    def run(self, folder: Path, run_id: str = "20260101T120000Z-abcdef") -> Path:
        """Write the run that decides this."""
        rows: dict[str, list[dict[str, Any]]] = {"kept": [], "removed": [], "quarantined": []}
        for path in self.images:
            label = self.quarantined.get(path)
            name = "removed" if path in self.removed else "quarantined" if label else "kept"
            rows[name].append(self.row(path, quarantine=label, group_name=str(Path(path).parent)))
        return write_run(
            folder,
            [self.source],
            kept=rows["kept"],
            removed=rows["removed"],
            quarantined=rows["quarantined"],
            run_id=run_id,
        )

    def row(self, path: str, **more: Any) -> dict[str, Any]:
        """One image's row in a manifest, as its file is now."""
        file = self.root / path
        status = file.stat()
        return {
            "uri": self.source + quote(path),
            "key": path,
            "size_bytes": status.st_size,
            "last_modified": f"{datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S.%f}+00",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            **more,
        }


def draw(root: Path, groups: int, seed: int = 0) -> FaceSets:
    """Draw a tree: of the groups some lose a few images, some go whole, some stay as they are."""
    dice = random.Random(seed)
    removed: set[str] = set()
    quarantined: dict[str, str] = {}
    images: list[str] = []
    entries: list[dict[str, Any]] = []
    for number in range(groups):
        name = f"{'people/' if number % 3 else ''}{number:03} sürname"
        paths = [f"{name}/{k:02} face.jpg" for k in range(dice.randrange(1, 9))]
        for path in paths:
            _write(root / path, f"{path} {dice.random()}".encode())
        images += paths
        gone = set(dice.sample(paths, dice.randrange(len(paths) + 1))) if dice.random() < 0.5 else set()
        removed |= gone
        if dice.random() < 0.3:
            quarantined |= dict.fromkeys(set(paths) - gone, dice.choice(["masked", "thin"]))
        _describe(root, name, [Path(path).name for path in paths], number)
        entries.append({"name": name, "manifest": f"{name}/manifest.json", "faces": len(paths)})
    master = {"title": "all of them", "groups": entries, "num_groups": groups, "total_faces": len(images), "seed": seed}
    _write(root / "manifest.json", json.dumps(master, indent=1).encode())
    return FaceSets(root, frozenset(removed), quarantined, tuple(images))


def _describe(root: Path, group: str, names: list[str], number: int) -> None:
    """Write a group's manifest and its archive, of which there are several manners."""
    key = NAMES[number % len(NAMES)]
    word = (lambda name: f"{group}/{name}") if number % 5 == 4 else (lambda name: name)
    faces = [{key: word(name), "score": k / 10} for k, name in enumerate(names)]
    manifest = {"person": group, "count": len(names), "faces": faces}
    text = json.dumps(manifest, indent=2 if number % 2 else None, ensure_ascii=False) + "\n" * (number % 2)
    _write(root / group / "manifest.json", text.encode())
    stem = Path(group).name
    archive = root / (f"{group}.fsz" if number % 2 else f"{group}/{stem}.fsz")
    with zipfile.ZipFile(archive, "w") as target:
        for name in names:
            inside = f"{stem}/{name}" if number % 3 else name
            how = zipfile.ZIP_DEFLATED if number % 4 else zipfile.ZIP_STORED
            target.write(root / group / name, inside, how)
        target.writestr("manifest.json", text)
    os.utime(archive, ns=(10**18, 10**18 + number))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18 + len(data)))


def tree_hash(root: Path) -> str:
    """One hash of every name, folder, mode, time of change and content below a root."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        is_file = path.is_file()
        facts = (str(path.relative_to(root)), status.st_mode, status.st_mtime_ns if is_file else 0)
        digest.update(repr(facts).encode() + (path.read_bytes() if is_file else b""))
    return digest.hexdigest()


def dangling(root: Path) -> list[str]:
    """What manifests name and is not there, and what archives hold although it is not below the same folders."""
    found = []
    for path in root.rglob("manifest.json"):
        for entry in _entries(json.loads(path.read_text())):
            words = [entry[key] for key in (*NAMES, "manifest") if key in entry]
            top = next(parent for parent in (path.parent, *path.parents) if root in {parent, parent.parent})
            places = [base / word for word in words for base in (path.parent, root, top)]
            if words and not any(place.exists() for place in places):
                found.append(f"{path.relative_to(root)} names {words[0]}")
    return found


def _entries(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [*manifest.get("faces", []), *manifest.get("groups", [])]


def members(archive: Path) -> list[str]:
    """The names of the images in an archive, without folders."""
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        return [Path(name).name for name in opened.namelist() if not name.endswith(".json")]
