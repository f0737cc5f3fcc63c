"""What the header of a query says: a sentence, and the parameters with their defaults."""

import re
from collections.abc import Iterator

from query.views import VIEWS
from sql import load

_PARAMETER = re.compile(r"\$(\w+)(?: \(([^)]+)\))?")


def sentence(query: str) -> str:
    """Return the first sentence of a query's header."""
    return re.split(r"(?<=\.) ", _comment(query))[0]


def parameters(query: str) -> dict[str, str | None]:
    """Return the parameters that a header names, each with its default as it is written, or None where it has none."""
    found = _PARAMETER.finditer(_comment(query).partition("Parameters:")[2])
    return {match[1]: match[2] for match in found}


def described_views() -> Iterator[tuple[str, str]]:
    """Yield each documented view and what its header says that it holds."""
    for name in VIEWS:
        yield name, sentence(load(f"views/{name}"))
    yield "candidates", sentence(load("rules/candidates"))


def _comment(query: str) -> str:
    lines = query.splitlines()
    header = lines[: next((k for k, line in enumerate(lines) if not line.startswith("--")), len(lines))]
    return " ".join(line[2:].strip() for line in header)
