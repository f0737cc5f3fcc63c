"""A table of a policy file, which knows its place: every complaint about it names the file and the line."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import duckdb

from query.rules.policies.condition import Condition, parse_condition
from query.toml_lines import lines_of
from store.errors import UnknownName, UsageError


@dataclass(frozen=True)
class Entry:
    """A table of a policy file, and where it stands."""

    values: Mapping[str, Any]
    path: tuple[str | int, ...]
    file: str
    text: str

    @cached_property
    def _lines(self) -> Mapping[tuple[str | int, ...], int]:
        return lines_of(self.text)

    def place(self, *keys: str | int) -> str:
        """Return `policy.toml, line 7`, the line of the key or of the nearest thing around it."""
        path = (*self.path, *keys)
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self.file}, line {self._lines.get(path, 1)}"

    def refuse(self, key: str | None, what: str, why: str = "", do: str = "") -> NoReturn:
        """Raise UsageError for the value of a key, or for the whole entry."""
        raise UsageError(f"{self.place(*([key] if key else []))}: {what}", why, do)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Raise UnknownName for the first key that is not known."""
        for key in self.values:
            if key not in known:
                nearest = difflib.get_close_matches(key, known, 1, 0)[0]
                raise UnknownName(
                    f"{self.place(key)}: the key {key!r} is not known.", do=f"The nearest is {nearest!r}."
                )

    def entries(self, key: str) -> "list[Entry]":
        """Return the tables `[[key]]`."""
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(values, dict) for values in found):
            self.refuse(key, f"{key} is no list of tables.", do=f"Each starts with a line [[{key}]].")
        return [Entry(values, (*self.path, key, k), self.file, self.text) for k, values in enumerate(found)]

    def tables(self, key: str) -> "list[Entry]":
        """Return the tables `[key.NAME]`."""
        found = self.values.get(key, {})
        if not isinstance(found, dict) or not all(isinstance(values, dict) for values in found.values()):
            self.refuse(key, f"{key} holds no named tables.", do=f"Each starts with a line [{key}.NAME].")
        return [Entry(values, (*self.path, key, name), self.file, self.text) for name, values in found.items()]

    def words(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty."""
        value = self.values.get(key, default)
        if value is None:
            self.refuse(None, f"{key} is missing.")
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, f"{key} = {value!r} is no text.")
        return value

    def number(self, key: str, fits: Callable[[float], bool], meaning: str, *, whole: bool = False) -> Any:  # noqa: ANN401  # int or float
        """Return a number that fits, or None where the key is missing."""
        value = self.values.get(key)
        kinds = int if whole else int | float
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not fits(value)):
            self.refuse(key, f"{key} = {value!r} is no {meaning}.")
        return value

    def condition(self, connection: duckdb.DuckDBPyConnection, key: str, element: int | None = None) -> Condition:
        """Return the condition of a key, or of an element of its list."""
        value = self.values[key] if element is None else self.values[key][element]
        place = self.place(key) if element is None else self.place(key, element)
        if not isinstance(value, str):
            raise UsageError(f"{place}: {key} holds {value!r}, which is no text.", do=f'Write {key} = "people >= 0.5".')
        return parse_condition(connection, value, f"{place}: the condition {value.strip()!r}")
