"""Concepts by name or by file: those that come along, and what the words of a command mean."""

import difflib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from query.scoring.concept_tables import parse_concepts
from query.scoring.heads.known import HEADS
from query.scoring.kinds import SHIPPED, Concept
from store.errors import UnknownName, UsageError

__all__ = ["Concept", "find_concepts", "parse_concepts", "read_file", "shipped_concepts", "shipped_names"]


def shipped_concepts() -> dict[str, Concept]:
    """Return the concepts that come with clipsieve, by name."""
    folder = files(__package__).joinpath("shipped")
    texts = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".toml")}
    return {c.name: c for name in sorted(texts) for c in parse_concepts(texts[name], name, origin=SHIPPED)}


def shipped_names() -> list[str]:
    """Return the names that `score` knows without a file: of shipped concepts, and of heads."""
    return [*shipped_concepts(), *HEADS]


def find_concepts(words: Sequence[str], known: Mapping[str, Concept]) -> list[Concept]:
    """Return the concepts that the words of a command mean: names in `known`, or TOML files with one or several.

    Raise UnknownName for a name that is neither, with the nearest known one.
    """
    found: dict[str, Concept] = {}
    for word in words:
        concepts = read_file(Path(word)) if word.endswith(".toml") else [_named(word, known)]
        found.update((concept.name, concept) for concept in concepts)
    return list(found.values())


def read_file(path: Path) -> list[Concept]:
    """Return the concepts of a TOML file; raise UsageError or UnknownName with the place of the fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the concept file {path}: {error}.") from error
    return parse_concepts(text, str(path), path.parent, origin=str(path.absolute()))


def _named(word: str, known: Mapping[str, Concept]) -> Concept:
    if word not in known:
        nearest = difflib.get_close_matches(word, known, 1, 0)
        raise UnknownName(
            f"There is no concept {word!r}.",
            do=f"Known: {', '.join(known)}."
            + (f" Nearest: {nearest[0]}." if nearest else "")
            + " A concept of your own is a TOML file: give its path, ending in .toml.",
        )
    return known[word]
