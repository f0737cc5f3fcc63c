"""What becomes of the file that a word in a manifest or an archive means."""

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

STAYS = "stays"
_LONGEST_PATH = 4096

Bases = tuple[str, ...]
"""The folders that a word may start from, the nearest first; `""` is the root."""


@dataclass(frozen=True)
class Fates:
    """The files and folders of a tree that go, each with the folder it goes to (`_dropped`, `_masked`, …).

    Paths are relative to the root, with `/`. Every other file stays.
    """

    root: Path
    files: Mapping[str, str]
    folders: Mapping[str, str]

    def of_file(self, word: str, bases: Bases) -> str | None:
        """Return where the file goes that a word means, STAYS, or None where it means no file."""
        for path in self._meant(word, bases):
            if path in self.files:
                return self.files[path]
            if (self.root / path).is_file():
                return STAYS
        name = posixpath.basename(word.replace("\\", "/"))
        beside = (posixpath.join(base, name) for base in bases)
        return next((self.files[path] for path in beside if path in self.files), None)

    def of_folder(self, word: str, bases: Bases) -> str | None:
        """Return where the folder goes that a word means, STAYS, or None where it means none."""
        return next((self.folders.get(path, STAYS) for path in self.folders_meant(word, bases)), None)

    def folders_meant(self, word: str, bases: Bases) -> list[str]:
        """Return the folders, gone or there, that a word may mean."""
        return [path for path in self._meant(word, bases) if path in self.folders or (self.root / path).is_dir()]

    def _meant(self, word: str, bases: Bases) -> Iterator[str]:
        """Yield the paths that a word may mean: below one of the bases, below the root, or absolute."""
        if not word.strip() or "\0" in word or len(word) > _LONGEST_PATH:
            return
        if word.startswith("file://"):
            word = os.fsdecode(unquote_to_bytes(word.removeprefix("file://")))
        if posixpath.isabs(word):
            inside = Path(os.path.normpath(word))
            if inside.is_relative_to(self.root):
                yield inside.relative_to(self.root).as_posix()
            return
        for spelled in dict.fromkeys((word, word.replace("\\", "/"))):
            for base in dict.fromkeys((*bases, "")):
                path = posixpath.normpath(posixpath.join(base, spelled))
                if path not in {".", ".."} and not path.startswith("../"):
                    yield path
