"""What can be said about a drawn scene, as phrases.toml holds it."""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Phrase:
    """One fact in words."""

    topic: str  # phrases of one topic contradict each other, and those of two topics may be joined
    needs: frozenset[str]  # the facts that make it true
    pattern: str  # {a|b} is one of a and b


def _read() -> tuple[Phrase, ...]:
    document = tomllib.loads(files(__package__).joinpath("phrases.toml").read_text(encoding="utf-8"))
    words: dict[str, str] = document["words"]
    return tuple(
        Phrase(entry["topic"], frozenset(entry["needs"]), _filled(pattern, words))
        for entry in document["phrase"]
        for pattern in entry["patterns"]
    )


def _filled(pattern: str, words: dict[str, str]) -> str:
    while named := re.search(r"<(\w+)>", pattern):
        pattern = pattern.replace(named[0], words[named[1]])
    return pattern


PHRASES = _read()
