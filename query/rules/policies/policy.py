"""Policies: rules in a TOML file, read from top to bottom; each image is decided by the first one that holds.

    [[rule]]
    name = "small"
    remove = "width_px < 256"

    [[rule]]
    name = "statues"
    keep = "uri like '%/statues/%'"        # an exception: the rules below do not touch these

    [[rule]]
    name = "masked group"
    quarantine = "masked"
    group = "folder"                       # or any SQL expression, or { regex = '^([^/]+)/' }
    any = ["mask >= 0.70", "sunglasses >= 0.70"]
    share_at_least = 0.40

    [[rule]]
    name = "near-duplicate"
    duplicate_at = 0.95

    [table.people]                         # its columns can be asked about
    path = "people.csv"
    on = "key"

docs/policies.md says what each key means.
"""

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from query.duplicates.words import KEEP_FIRST_BY, parse_order
from query.rules.policies.condition import Condition, parse_condition
from query.rules.policies.entry import Entry
from query.rules.policies.kinds import (
    KEEP,
    QUARANTINE,
    REMOVE,
    DuplicateRule,
    Group,
    ImageRule,
    Rule,
    ShareRule,
    SurvivorsRule,
)
from store.errors import UnknownName, UsageError

ON = ("key", "uri", "image_id", "folder")
"""What a joined table may be joined on."""


@dataclass(frozen=True)
class JoinedTable:
    """A table of the user's own, whose columns the rules may ask about."""

    name: str
    path: Path
    on: str  # one of ON
    what: str  # how an error calls it


@dataclass(frozen=True)
class Policy:
    """Rules in their order, and the tables that they ask."""

    name: str  # a shipped name or a file; "--remove" where conditions stand for a policy
    rules: tuple[Rule, ...]
    tables: tuple[JoinedTable, ...] = ()
    text: str | None = None  # the file, as it is

    @property
    def sha256(self) -> str | None:
        """Return the sha256 of the file."""
        return None if self.text is None else hashlib.sha256(self.text.encode()).hexdigest()


def policy_of(connection: duckdb.DuckDBPyConnection, word: str | None, remove: Sequence[str]) -> Policy:
    """Return the policy that a command means: a name or file, or conditions that remove; raise where it is not one."""
    if isinstance(remove, str):
        raise UsageError("remove is a list of conditions, not one text.", do=f"Write remove=[{remove!r}].")
    if (word is None) == (not remove):
        raise UsageError(
            "Which images? Give a policy or --remove conditions, one of the two.",
            do=f"Shipped policies: {', '.join(shipped_policies())}; or --remove 'people >= 0.5'.",
        )
    if word is None:
        return _conditions_as_policy(connection, remove)
    return find_policy(connection, word)


def find_policy(connection: duckdb.DuckDBPyConnection, word: str) -> Policy:
    """Return the policy of a shipped name or of a TOML file; raise UnknownName with the nearest shipped name."""
    if word.endswith(".toml"):
        try:
            return parse_policy(connection, Path(word).read_bytes().decode(), word, Path(word).parent)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"Cannot read the policy file {word}: {error}.") from error
    shipped = shipped_policies()
    if word not in shipped:
        nearest = difflib.get_close_matches(word, shipped, 1, 0)[0]
        raise UnknownName(
            f"There is no policy {word!r}.",
            do=f"Shipped: {', '.join(shipped)}. Nearest: {nearest}. "
            "A policy of your own is a TOML file: give its path, ending in .toml.",
        )
    return parse_policy(connection, shipped[word], word, None)


def shipped_policies() -> dict[str, str]:
    """Return the texts of the policies that come with clipsieve, by name."""
    folder = files("query.rules").joinpath("shipped")
    texts = {f.name: f.read_text(encoding="utf-8") for f in folder.iterdir() if f.name.endswith(".toml")}
    return {name.removesuffix(".toml"): texts[name] for name in sorted(texts)}


def parse_policy(connection: duckdb.DuckDBPyConnection, text: str, name: str, folder: Path | None) -> Policy:
    """Return the policy of a TOML text; raise UsageError or UnknownName with the line of the fault.

    The paths of its tables are relative to `folder`; where that is None, it can have none.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not valid TOML: {error}.") from error
    whole = Entry(document, (), name, text)
    whole.refuse_unknown(("rule", "table"))
    entries = whole.entries("rule")
    if not entries:
        raise UsageError(f"{name} holds no rule.", do="A rule starts with a line [[rule]].")
    rules = [_rule(connection, entry) for entry in entries]
    for number, entry in enumerate(entries):
        if (first := [rule.name for rule in rules].index(rules[number].name)) != number:
            entry.refuse(
                "name", f"the name {rules[number].name!r} is taken by the rule of {entries[first].place('name')}."
            )
    return Policy(name, tuple(rules), tuple(_joined(entry, folder) for entry in whole.tables("table")), text)


def _conditions_as_policy(connection: duckdb.DuckDBPyConnection, remove: Sequence[str]) -> Policy:
    """Return the policy that removes by these conditions; each is its own name and reason."""
    conditions = [parse_condition(connection, text) for text in remove]
    rules = [ImageRule(one.text, one.text, None, REMOVE, one) for one in conditions]
    return Policy("--remove", tuple(rules))


_COMMON = ("name", "reason", "unless")


def _rule(connection: duckdb.DuckDBPyConnection, entry: Entry) -> Rule:
    kinds = [key for key in KINDS if key in entry.values]
    keys, read = KINDS[kinds[0]] if kinds else ((), None)
    entry.refuse_unknown((*_COMMON, *(kinds or KINDS), *keys))
    if read is None or len(kinds) > 1:
        found = " and ".join(kinds) or f"none of {', '.join(KINDS)}"
        entry.refuse(kinds[-1] if kinds else None, f"a rule does one thing, and this one has {found}.")
    return read(connection, entry)


def _image_rule(connection: duckdb.DuckDBPyConnection, entry: Entry) -> Rule:
    does = REMOVE if REMOVE in entry.values else KEEP
    condition = entry.condition(connection, does)
    return ImageRule(**_common(connection, entry, condition.text), does=does, condition=condition)


def _group_rule(connection: duckdb.DuckDBPyConnection, entry: Entry) -> Rule:
    label = entry.words(QUARANTINE)
    if not re.fullmatch(r"[\w-]+", label):
        entry.refuse(QUARANTINE, f"{label!r} is no label.", do="A label is letters, digits, - and _.")
    if "group" not in entry.values:
        entry.refuse(None, "group is missing.", "A quarantine is of groups.", 'Write group = "folder".')
    group = _group(connection, entry)
    below = entry.number("survivors_below", lambda n: n >= 1, "whole number from 1", whole=True)
    shares = [key for key in _SHARE_KEYS if key in entry.values]
    if below is not None:
        if shares:
            entry.refuse(shares[0], f"a rule with survivors_below has no {shares[0]}.", do="Write two rules.")
        reason = f"fewer than {below} images of the group are left, after rules above have removed some"
        return SurvivorsRule(**_common(connection, entry, reason), quarantine=label, group=group, survivors_below=below)
    for key in ("any", "share_at_least"):
        if key not in entry.values:
            entry.refuse(None, f"{key} is missing.", do="Or write survivors_below = 5.")
    conditions = _any(connection, entry)
    share = entry.number("share_at_least", lambda x: 0 < x <= 1, "share above 0 and up to 1")
    reason = f"at least {share:.4g} of the group's images: {' | '.join(one.text for one in conditions)}"
    return ShareRule(
        **_common(connection, entry, reason),
        quarantine=label,
        group=group,
        any=conditions,
        share_at_least=float(share),
        count_at_least=entry.number("count_at_least", lambda n: n >= 1, "whole number from 1", whole=True) or 1,
        confidence=entry.number("confidence", lambda x: 0 < x < 1, "number between 0 and 1"),
    )


def _duplicate_rule(connection: duckdb.DuckDBPyConnection, entry: Entry) -> Rule:
    at = float(entry.number("duplicate_at", lambda x: 0 < x <= 1, "cosine above 0 and up to 1"))
    if "within" in entry.values and "across" in entry.values:
        entry.refuse("across", "images are compared within groups or across them, not both.")
    order = entry.words("keep_first_by", KEEP_FIRST_BY)
    key = "within" if "within" in entry.values else "across"
    return DuplicateRule(
        **_common(connection, entry, f"a cosine of {at:g} or more to an image that is kept"),
        at=at,
        keep_first_by=order,
        order=parse_order(connection, order, f"{entry.place('keep_first_by')}: keep_first_by = {order!r}"),
        never=entry.condition(connection, "never") if "never" in entry.values else None,
        group=entry.condition(connection, key) if key in entry.values else None,
        groups={"within": "same", "across": "different"}[key] if key in entry.values else "any",
    )


_SHARE_KEYS = ("any", "share_at_least", "count_at_least", "confidence")
_Read = Callable[[duckdb.DuckDBPyConnection, Entry], Rule]
KINDS: Mapping[str, tuple[tuple[str, ...], _Read]] = {
    REMOVE: ((), _image_rule),
    KEEP: ((), _image_rule),
    QUARANTINE: (("group", *_SHARE_KEYS, "survivors_below"), _group_rule),
    "duplicate_at": (("keep_first_by", "within", "across", "never"), _duplicate_rule),
}
"""By the key that names the kind: what else it may say, and how it is read."""


def _common(connection: duckdb.DuckDBPyConnection, entry: Entry, because: str) -> dict[str, Any]:
    unless = entry.condition(connection, "unless") if "unless" in entry.values else None
    return {
        "name": entry.words("name"),
        "reason": entry.words("reason", because + (f", unless {unless.text}" if unless else "")),
        "unless": unless,
    }


def _any(connection: duckdb.DuckDBPyConnection, entry: Entry) -> tuple[Condition, ...]:
    values = entry.values["any"]
    if not isinstance(values, list) or not values:
        entry.refuse("any", "any is no list of conditions.", do='Write any = ["mask >= 0.70", "sunglasses >= 0.70"].')
    return tuple(entry.condition(connection, "any", k) for k in range(len(values)))


def _group(connection: duckdb.DuckDBPyConnection, entry: Entry) -> Group:
    value = entry.values["group"]
    if isinstance(value, str):
        what = f"{entry.place('group')}: the group {value.strip()!r}"
        return Group(parse_condition(connection, value, what))
    if not isinstance(value, dict) or set(value) != {"regex"} or not isinstance(value["regex"], str):
        entry.refuse(
            "group", f"group = {value!r} is no group.", do='Write "folder", a SQL expression or { regex = "…" }.'
        )
    pattern = value["regex"]
    try:
        connection.execute("select regexp_extract('', $pattern, 1)", {"pattern": pattern}).fetchall()
    except duckdb.Error as error:
        message = str(error).strip().splitlines()[0]
        entry.refuse("group", f"DuckDB rejects the regular expression {pattern!r}: {message}")
    if "(" not in pattern:
        entry.refuse("group", f"the regular expression {pattern!r} has no part in brackets, which would be the name.")
    return Group(parse_condition(connection, "key", f"{entry.place('group')}: the group"), pattern)


def _joined(entry: Entry, folder: Path | None) -> JoinedTable:
    entry.refuse_unknown(("path", "on"))
    path, on, name = entry.words("path"), entry.words("on"), str(entry.path[-1])
    if on not in ON:
        nearest = difflib.get_close_matches(on, ON, 1, 0)[0]
        raise UnknownName(
            f"{entry.place('on')}: a table is joined on one of {', '.join(ON)}, not on {on!r}.",
            do=f"The nearest is {nearest!r}.",
        )
    if not path.endswith((".csv", ".parquet")):
        entry.refuse("path", f"{path!r} is neither .csv nor .parquet.")
    if folder is None or not (folder / path).is_file():
        entry.refuse("path", f"there is no file {path!r}.", "Paths are relative to the policy file.")
    return JoinedTable(name, folder / path, on, f"{entry.place()}: the table {name!r}")
