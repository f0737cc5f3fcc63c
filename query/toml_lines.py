"""Where in a TOML text a key stands, since tomllib reads values and forgets the lines; and how a text is written."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]


def toml_text(text: str) -> str:
    """Return a text as TOML reads it: https://toml.io/en/v1.0.0#string, which escapes as JSON does, and DEL besides."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line on which each table and key of a valid TOML document begins: `("rule", 0, "name")` -> 2."""
    found: dict[Path, int] = {}
    tables: dict[str, int] = {}
    table: Path = ()
    for line, lines, said in _statements(text):
        if lines[0].lstrip().startswith("["):
            table = _table(said, tables)
            found.setdefault(table, line)
        else:
            _note_elements(found, table, said, line, lines)
            _note(found, table, said, line)
    return found


def _statements(text: str) -> Iterator[tuple[int, list[str], dict[str, Any]]]:
    """Yield the line, the lines and the meaning of each statement: the fewest lines that are TOML by themselves.

    A text or a list over several lines is no TOML before its end, so what stands within is never taken for a key.
    """
    lines = [f"{line}\n" for line in text.split("\n")]
    start = 0
    for end in range(1, len(lines) + 1):
        said = _said("".join(lines[start:end]))
        if said:
            yield start + 1, lines[start:end], said
        if said is not None:
            start = end


def _said(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _table(said: dict[str, Any], tables: dict[str, int]) -> Path:
    """Return the path of a header, `[table.people]` or the next `[[rule]]`, which is counted."""
    ((name, below),) = said.items()
    if isinstance(below, list):
        tables[name] = tables.get(name, -1) + 1
        return (name, tables[name])
    return (name, *(_table(below, {}) if below else ()))


def _note(found: dict[Path, int], below: Path, said: object, line: int) -> None:
    """Note the keys of one statement, and of what it holds in brackets."""
    items = said.items() if isinstance(said, Mapping) else enumerate(said) if isinstance(said, list) else ()
    for key, value in items:
        found.setdefault((*below, key), line)
        _note(found, (*below, key), value, line)


def _note_elements(found: dict[Path, int], below: Path, said: dict[str, Any], line: int, lines: list[str]) -> None:
    """Note the elements of a list over several lines: it is TOML after each of them, were it closed there."""
    ((key, value),) = said.items()
    read = 0
    for end in range(1, len(lines) + 1) if isinstance(value, list) else ():
        text = "".join(lines[:end])
        closed = _said(f"{text}]") or _said(text)
        if closed is not None:
            for element in range(len(closed[key])):
                found.setdefault((*below, key, element), line + max(read, 0))
            read = end
