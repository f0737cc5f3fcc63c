"""What would be moved and rewritten below a root, seen without touching anything."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from query.deliver.apply.in_place import archives
from query.deliver.apply.in_place.archives import Archive
from query.deliver.apply.in_place.fates import STAYS, Fates
from query.deliver.apply.in_place.prune import Pruned, Pruner, with_provenance, written
from query.deliver.apply.in_place.tree import is_judged, is_known, parents, plain
from store.errors import LocationError

DROPPED = "_dropped"


@dataclass(frozen=True)
class Move:
    """One image that goes: its path below the root, the folder it goes to, and how it stands.

    state: `to_move`, `moved`, or why not: `changed`, `vanished`, `occupied`, `unknown`
    """

    path: str
    folder: str
    size_bytes: int
    mtime_ns: int
    state: str

    @property
    def to_path(self) -> str:
        """Where it goes, below the root."""
        return f"{self.folder}/{self.path}"

    @property
    def goes(self) -> bool:
        """Whether it is gone already, or will be: then no manifest is to name it."""
        return self.state in {"to_move", "moved", "vanished"}


@dataclass(frozen=True)
class Rewrite:
    """A manifest or an archive that is written anew, at its place or where its group goes to."""

    path: str
    to_path: str
    write: Callable[[Path], None]  # the new content, to a file

    @property
    def goes_along(self) -> bool:
        """Whether it goes where its group goes."""
        return self.path != self.to_path


@dataclass(frozen=True)
class Survey:
    """Everything that is to be done below one root."""

    moves: list[Move]
    rewrites: list[Rewrite]
    along: list[Move]  # archives that go with their group as they are
    groups: Mapping[str, str]  # whole groups, by folder, and where they go
    still_named: list[tuple[str, str]]  # a manifest, and a value in it that names what goes without being an entry


@dataclass
class Surveyor:
    """Looks at one root, for one run."""

    root: Path
    staying: frozenset[str]  # folders in which an image of the run stays
    provenance: Mapping[str, Any]
    on_their_way: Mapping[str, Path]  # manifests and archives of groups that go, put aside by a process that ended
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    _still_named: list[tuple[str, str]] = field(default_factory=list)

    def survey(self, moves: list[Move]) -> Survey:
        """Return what is to be done; raise LocationError for a manifest or archive that cannot be read."""
        files = {move.path: move.folder for move in moves if move.goes}
        by_folder: dict[str, set[str]] = {}
        for path, folder in files.items():
            by_folder.setdefault(parents(path)[0], set()).add(folder)
        plain_fates = Fates(self.root, files, {})
        wholes = ((at, self._whole(at, folders, plain_fates)) for at, folders in by_folder.items())
        groups = {at: label for at, label in wholes if label is not None}
        above = {at for folder in by_folder for at in (folder, *parents(folder))}
        owned = {path: self._owner(path, by_folder) for at in above for path in self._archives(at)}
        manifests = {path: at for at in above if self._file(path := _join(at, archives.MANIFEST)).is_file()}
        companions = {path: groups[at] for path, at in (owned | manifests).items() if at in groups}
        fates = Fates(self.root, files | companions, groups)
        contents = cache(lambda at: self._contents(at, moves))
        rewrites, along = [], []
        for path, at in sorted(owned.items()):
            archive, label = self._archive(path, at, fates, contents), groups.get(at)
            if archive.is_touched():
                rewrites.append(Rewrite(path, _below(label, path), _writer(archive)))
            elif label:
                along.append(self._as_it_is(path, label))
        for path, at in sorted(manifests.items(), key=lambda pair: (-pair[0].count("/"), pair)):
            rewrites += self._manifest(path, at, fates)
        described = {at for path, at in (owned | manifests).items() if path in companions}
        sets = {at: label for at, label in groups.items() if at in described or self._is_set(at, label)}
        return Survey(moves, rewrites, along, sets, self._still_named)

    def _is_set(self, at: str, label: str) -> bool:
        """Whether a folder counts as a group: it is quarantined, or a manifest went with what was dropped."""
        return label != DROPPED or (self.root / label / at / archives.MANIFEST).is_file()

    def _whole(self, at: str, folders: set[str], fates: Fates) -> str | None:
        """Return where a group goes as a whole: all its images are quarantined alike, or dropped, and none stays."""
        labels = folders - {DROPPED} or {DROPPED}
        if not at or len(labels) != 1 or at in self.staying:
            return None
        if (path := self._file(_join(at, archives.MANIFEST))).is_file():
            document, _ = _parsed(path.read_bytes(), str(path))
            if Pruner(fates, at, {}).prune(document).staying:
                return None
        return labels.pop()

    def _archives(self, at: str) -> list[str]:
        there = [_join(at, path.name) for path in (self.root / at).glob(f"*{archives.SUFFIX}") if path.is_file()]
        coming = [path for path in self.on_their_way if path.endswith(archives.SUFFIX) and parents(path)[0] == at]
        return sorted({*there, *coming})

    def _owner(self, path: str, by_folder: Collection[str]) -> str:
        """Return the folder of the group that an archive belongs to: the one of its name beside it, or its own."""
        beside = path.removesuffix(archives.SUFFIX)
        return beside if beside in by_folder or (self.root / beside).is_dir() else parents(path)[0]

    def _archive(self, path: str, at: str, fates: Fates, contents: Callable[[str], set[tuple[int, int]]]) -> Archive:
        label = fates.folders.get(at)
        bases = tuple(dict.fromkeys((at, *parents(at)[:1], parents(path)[0])))
        pruner = Pruner(fates, at, {}, along=label)

        def goes(name: str) -> bool | None:
            fate = fates.of_file(name, bases)
            return None if fate is None else fate not in {STAYS, label}

        def prune(data: bytes) -> bytes:
            document, text = _parsed(data, f"{path}/{archives.MANIFEST}")
            return self._new_text(document, pruner.prune(document), text) or data

        return Archive(self._file(path), goes, lambda: contents(at), prune)

    def _manifest(self, path: str, at: str, fates: Fates) -> list[Rewrite]:
        """Return how the manifest of a folder is to be written anew; nothing where it is not to be."""
        label = fates.folders.get(at)
        document, text = _parsed(self._file(path).read_bytes(), path)
        pruned = Pruner(fates, at, self._sizes, along=label).prune(document)
        self._sizes[at] = pruned.sizes
        self._still_named += [(path, word) for word in pruned.still_named]
        new = self._new_text(document, pruned, text, always=label is not None)
        return [Rewrite(path, _below(label, path), lambda to: _write(to, new))] if new is not None else []

    def _file(self, path: str) -> Path:
        """Return where a manifest or archive is to be read: at its place, or where it was put aside."""
        return self.on_their_way.get(path, self.root / path)

    def _new_text(self, document: Any, pruned: Pruned, like: str, *, always: bool = False) -> bytes | None:  # noqa: ANN401
        """Return what a manifest is to be, with the run's block; None where the run changes nothing in it."""
        if pruned.document == document and not always:
            return None
        taken = {folder.removeprefix("_"): words for folder, words in sorted(pruned.taken.items())}
        record = {**self.provenance, "dropped": taken.pop("dropped", []), "quarantined": taken}
        return written(with_provenance(pruned.document, record), like)

    def _contents(self, at: str, moves: Iterable[Move]) -> set[tuple[int, int]]:
        """Return size and CRC-32 of the images of a folder that go."""
        found = set()
        for move in moves:
            if move.state in {"to_move", "moved"} and parents(move.path)[0] == at:
                path = self.root / (move.path if move.state == "to_move" else move.to_path)
                found.add(archives.content_of(path))
        return found

    def _as_it_is(self, path: str, label: str) -> Move:
        status = (self.root / path).stat()
        state = "occupied" if os.path.lexists(self.root / label / path) else "to_move"
        return Move(path, label, status.st_size, status.st_mtime_ns, state)


def find_moves(root: Path, rows: Iterable[dict[str, Any]], noted: set[str]) -> list[Move]:
    """Return every image that a run moves, with how it stands; `noted` are those that the journal knows of."""
    return [_stand(root, row, noted) for row in rows]


def _stand(root: Path, row: dict[str, Any], noted: set[str]) -> Move:
    path = plain(row["below"])
    folder: str = row["folder"]
    source, target = root / path, root / folder / path
    at, state = None, "vanished"
    if os.path.lexists(source):
        at, state = source, "occupied" if os.path.lexists(target) else "to_move"
    elif path in noted and os.path.lexists(target):
        at, state = target, "moved"
    status = at.stat() if at is not None and at.exists() else None
    if status is None:
        return Move(path, folder, row["size_bytes"] or 0, 0, "vanished")
    if not is_known(row):
        state = "unknown"
    elif not is_judged(status, row):
        state = "changed"
    return Move(path, folder, status.st_size, status.st_mtime_ns, state)


def _parsed(data: bytes, name: str) -> tuple[Any, str]:
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text), text
    except ValueError as error:
        raise LocationError(
            f"{name} is no JSON ({error}).",
            "It may name images that are to go, so nothing is moved.",
            "Mend it, or put it elsewhere.",
        ) from error


def _write(to: Path, data: bytes) -> None:
    to.write_bytes(data)


def _writer(archive: Archive) -> Callable[[Path], None]:
    def write(to: Path) -> None:
        with to.open("wb") as file:
            archive.write_pruned(file)

    return write


def _join(at: str, name: str) -> str:
    return f"{at}/{name}" if at else name


def _below(label: str | None, path: str) -> str:
    return f"{label}/{path}" if label else path
