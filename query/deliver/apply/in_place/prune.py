"""A manifest without what goes: entries that name a file or group that is moved are taken out, and counts follow.

A manifest is JSON; its lists (`faces`, `groups`, or of any name) hold entries, which are objects or names of files.
What an entry names is found by comparing its values with the files that there are.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from query.deliver.apply.in_place.fates import STAYS, Bases, Fates

_FILE_KEYS = ("file", "path", "filename", "file_name", "image", "image_path", "img", "src", "uri", "url", "key", "name")
_FOLDER_KEYS = ("name", "group", "id", "path", "folder", "dir", "directory")
_GROUPS = {"groups", "persons", "people", "identities", "sets", "folders"}
_FILES = {"faces", "images", "files"}
_COUNTS = re.compile(r"count|num|total|size|faces|images|files|groups|persons|^n$|^n_", re.IGNORECASE)
BLOCK = "clipsieve"


@dataclass
class Pruned:
    """A manifest as it is to be, what was taken out of it by the folder that it goes to, and what could not be."""

    document: Any
    taken: dict[str, list[str]] = field(default_factory=dict)
    still_named: list[str] = field(default_factory=list)  # values that name what goes, but are no entry of a list
    sizes: tuple[int, int] = (0, 0)  # entries of its lists of files, before and after
    staying: int = 0  # entries that name a file that stays


@dataclass(frozen=True)
class Pruner:
    """Prunes the manifest of one folder."""

    fates: Fates
    at: str
    sizes: Mapping[str, tuple[int, int]]  # of the manifests of folders below: entries before and after
    along: str | None = None  # the folder to which the manifest goes itself: what goes there too is no loss

    def prune(self, document: Any) -> Pruned:  # noqa: ANN401  # JSON
        """Return the document without what goes."""
        result = Pruned(None)
        result.document = self._pruned(document, "", (self.at,), result)
        result.sizes = (_entries(document), _entries(result.document))
        return result

    def _pruned(self, value: Any, name: str, bases: Bases, result: Pruned) -> Any:  # noqa: ANN401  # JSON
        if isinstance(value, list):
            left = [item for item in value if not self._takes_out(*self._fate(item, name, bases), result)]
            return [self._pruned(item, "", self._inside(item, name, bases), result) for item in left]
        if isinstance(value, dict):
            return self._pruned_object(value, name, bases, result)
        if isinstance(value, str) and self._goes(self.fates.of_file(value, bases)):
            result.still_named.append(value)
        return value

    def _pruned_object(self, value: dict[str, Any], name: str, bases: Bases, result: Pruned) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            if key == BLOCK:
                kept[key] = inner
            elif name not in _GROUPS | _FILES:
                kept[key] = self._pruned(inner, key, bases, result)
            elif not self._takes_out(*self._fate(key, name, bases), result):  # its keys are the entries' names
                kept[key] = self._pruned(inner, "", self._inside(key, name, bases), result)
        self._let_counts_follow(value, kept, bases)
        return kept

    def _goes(self, fate: str | None) -> bool:
        return fate not in {None, STAYS, self.along}

    def _takes_out(self, word: str, fate: str | None, result: Pruned) -> bool:
        result.staying += fate == STAYS
        if not self._goes(fate):
            return False
        result.taken.setdefault(str(fate), []).append(word)
        return True

    def _fate(self, item: Any, name: str, bases: Bases) -> tuple[str, str | None]:  # noqa: ANN401  # JSON
        """Return the word of an entry that decides, and the fate of what it names; a file before a folder."""
        if isinstance(item, str):
            fate = self.fates.of_file(item, bases)
            return item, fate or (self.fates.of_folder(item, bases) if name in _GROUPS else None)
        if not isinstance(item, dict):
            return "", None
        words = {key: value for key, value in item.items() if isinstance(value, str)}
        for key in (key for key in _FILE_KEYS if key in words):
            if fate := self.fates.of_file(words[key], bases):
                return words[key], fate
        others = [(word, fate) for word in words.values() if (fate := self.fates.of_file(word, bases))]
        if others:
            return next((pair for pair in others if pair[1] == STAYS), others[0])
        if name in _GROUPS:
            for key in (key for key in _FOLDER_KEYS if key in words):
                if fate := self.fates.of_folder(words[key], bases):
                    return words[key], fate
        return "", None

    def _inside(self, item: Any, name: str, bases: Bases) -> Bases:  # noqa: ANN401  # JSON
        """Return where the words of an entry start from: the folder of the group that it is, first."""
        return (*self._folders(item, bases), *bases) if name in _GROUPS else bases

    def _folders(self, item: Any, bases: Bases) -> list[str]:  # noqa: ANN401  # JSON
        words = [item] if isinstance(item, str) else [item.get(key) for key in _FOLDER_KEYS] if _is(item) else []
        meant = (self.fates.folders_meant(word, bases) for word in words if isinstance(word, str))
        return [folder for folders in meant for folder in folders]

    def _let_counts_follow(self, before: dict[str, Any], after: dict[str, Any], bases: Bases) -> None:
        """Let numbers that counted entries count what is left of them."""
        changes = [("", *self.sizes[folder]) for folder in self._folders(before, bases) if folder in self.sizes]
        changes += _changes(before, after)
        for key, value in before.items():
            if isinstance(value, int) and not isinstance(value, bool) and _COUNTS.search(key):
                fitting = [change for change in changes if change[1] == value]
                named = [change for change in fitting if change[0].rstrip("s") in key.lower()]
                news = {change[2] for change in named or fitting}
                if len(news) == 1:
                    after[key] = news.pop()


def with_provenance(document: Any, record: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Return a manifest with one more block of what a run has done to it."""
    if not isinstance(document, dict):
        return document
    before = document.get(BLOCK)
    runs = before.get("runs", []) if isinstance(before, dict) else []
    return {**document, BLOCK: {"runs": [*runs, dict(record)]}}


def written(document: Any, like: str) -> bytes:  # noqa: ANN401  # JSON
    """Return JSON in the manner of the text that it replaces: its indentation, and whether it ends in a newline."""
    indent = re.match(r"[\[{]\r?\n([ \t]+)", like)
    text = json.dumps(document, ensure_ascii=like.isascii(), indent=indent[1] if indent else None)
    return (text + ("\n" if like.endswith("\n") else "")).encode("utf-8", "surrogatepass")


def _entries(document: Any) -> int:  # noqa: ANN401  # JSON
    """Count the entries of the manifest's own lists of files."""
    if isinstance(document, list):
        return len(document)
    return sum(len(v) for k, v in document.items() if k in _FILES and isinstance(v, list)) if _is(document) else 0


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Return what of a manifest has become less: of which name, from, to. Lengths, and sums of what entries count."""
    changes = []
    for key, value in before.items():
        left = after.get(key)
        if key != BLOCK and isinstance(value, list | dict) and isinstance(left, list | dict):
            changes.append((key.lower(), len(value), len(left)))
            old, new = _sums(value), _sums(left)
            changes += [(name.lower(), total, new.get(name, 0)) for name, total in old.items()]
    return [change for change in changes if change[1] != change[2]]


def _sums(entries: list[Any] | dict[str, Any]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries.values() if isinstance(entries, dict) else entries:
        for key, value in entry.items() if _is(entry) else ():
            if isinstance(value, int) and not isinstance(value, bool) and _COUNTS.search(key):
                sums[key] = sums.get(key, 0) + value
    return sums


def _is(value: Any) -> bool:  # noqa: ANN401  # JSON
    return isinstance(value, dict)
