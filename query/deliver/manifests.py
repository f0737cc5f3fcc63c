"""The manifests as CSV files, written a range of URIs at a time: in order, and in memory that does not grow.

Every object that the sources hold stands in exactly one of them, under the decision of the table `decided`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb

from query.rules.asked import Asked
from query.rules.policies.kinds import KEEP, QUARANTINE, REMOVE
from sql import load
from store.errors import LocationError

MANIFESTS = {"removed": REMOVE, "kept": KEEP, "quarantined": QUARANTINE, "errors": None}
"""By name, the decision that brings an image there; what has none is an error."""

RANGE_OBJECTS = 1_000_000
_SAMPLE = 1000
_BELOW_ALL, _ABOVE_ALL = "", "\U0010ffff"
_NOTHING = {"low": _ABOVE_ALL, "high": _BELOW_ALL}
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Written:
    """What stands in the manifests."""

    rows: Mapping[str, int]  # by manifest
    distinct_uris: int  # of all of them together
    pending: int  # of the errors: objects that no run has read yet


def write_manifests(asked: Asked, folder: Path, *, errors: bool, range_objects: int = RANGE_OBJECTS) -> Written:
    """Write a CSV for each of MANIFESTS into a folder, with about so many objects in memory at a time.

    Without `errors`, as many images as objects are embedded, and nobody looks for what is not.
    """
    rows, distinct_uris, pending = dict.fromkeys(MANIFESTS, 0), 0, 0
    asked.made.extend(["manifest", "undecided"])
    for number, limits in enumerate(_ranges(asked, range_objects)):
        asked.connection.execute(load("deliver/manifest"), limits)
        asked.connection.execute(load("deliver/undecided"), limits if errors else _NOTHING)
        for name, decision in MANIFESTS.items():
            query = load("deliver/images" if decision else "deliver/errors")
            given = {"decision": decision, **_words(asked)} if decision else {}
            rows[name] += _write(asked.connection, query, given, folder / f"{name}.csv", first=number == 0)
        uris, waiting = asked.connection.execute(load("deliver/written")).fetchall()[0]
        distinct_uris, pending = distinct_uris + uris, pending + waiting
    return Written(rows, distinct_uris, pending)


def _ranges(asked: Asked, objects: int) -> Iterator[dict[str, str]]:
    """Return the first URI of each range and the first one beyond; together they hold every URI."""
    ranges = max(1, round(asked.opened.listed / objects))
    given = {"ranges": ranges, "sample": min(_SAMPLE, objects)}
    cuts = asked.connection.execute(load("deliver/cuts"), given).fetchall() if ranges > 1 else []
    for low, high in pairwise([_BELOW_ALL, *(uri for (uri,) in cuts), _ABOVE_ALL]):
        yield {"low": low, "high": high}


def _words(asked: Asked) -> dict[str, list[object]]:
    """Return what the numbers in the table `manifest` stand for."""
    rules, facts = asked.rule_rows, asked.fact_rows
    return {
        **{f"{column}s": rules[column].to_pylist() for column in ("rule", "reason", "quarantine")},
        **{f"{column}s": facts[column].to_pylist() for column in ("attribute", "operator", "threshold")},
    }


def _write(
    connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, object], path: Path, *, first: bool
) -> int:
    """Write the rows of a query into a CSV file, after those that it has; return how many these are."""
    into = path if first else path.with_suffix(".part")
    try:
        copy = f"copy ({query}) to $file (format csv, header {str(first).lower()})"
        ((rows,),) = connection.execute(copy, {**given, "file": str(into)}).fetchall()
    except duckdb.IOException as error:
        raise LocationError(
            f"Cannot write {path.name}: {' '.join(str(error).split())[:200]}.",
            "Nothing of the run is visible.",
            "Free some space, or run `clipsieve verify STORE` if it is the store that cannot be read.",
        ) from error
    if not first:
        _append(into, path)
    return int(rows)


def _append(part: Path, path: Path) -> None:
    with part.open("rb") as source, path.open("ab") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
    part.unlink()
