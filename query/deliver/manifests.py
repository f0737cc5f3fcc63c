"""The manifests as files, written a range of URIs at a time: in order, and in memory that does not grow.

Every object that the sources hold stands in exactly one of them, under the decision of the table `decided`.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from query.deliver.behind import Behind
from query.deliver.forms import Manifest
from query.deliver.links import Links
from query.rules.asked import Asked
from query.rules.policies.kinds import KEEP, QUARANTINE, REMOVE
from sql import load
from store.errors import LocationError

MANIFESTS = {"removed": REMOVE, "kept": KEEP, "quarantined": QUARANTINE, "errors": None}
"""By name, the decision that brings an image there; what has none is an error."""

RANGE_OBJECTS = 250_000
"""A table of these takes about 100 MB, so that two of them, a join and a sort never go to disk."""
BATCHES_WAITING = 4
"""To be written, of about 60 MB each."""
_SAMPLE = 1000
_BELOW_ALL, _ABOVE_ALL = "", "\U0010ffff"
_NOTHING = {"low": _ABOVE_ALL, "high": _BELOW_ALL}


@dataclass(frozen=True)
class Written:
    """What stands in the manifests."""

    rows: Mapping[str, int]  # by manifest
    distinct_uris: int  # of all of them together
    pending: int  # of the errors: objects that no run has read yet


def write_manifests(asked: Asked, folder: Path, links: Links, *, errors: bool, **forms: bool) -> Written:
    """Write each of MANIFESTS into a folder, with about RANGE_OBJECTS in memory at a time.

    Without `errors`, as many images as objects are embedded, and nobody looks for what is not. `forms` are
    the words of `Manifest`: `parquet`, `jsonl`.
    """
    rows, distinct_uris, pending = dict.fromkeys(MANIFESTS, 0), 0, 0
    asked.made.extend(["manifest", "undecided", "unsigned", "signed"])
    with _on_disk(), ExitStack() as closing:
        behind = Behind(BATCHES_WAITING)
        written = {name: closing.enter_context(Manifest(folder, name, behind, **forms)) for name in MANIFESTS}
        closing.enter_context(behind)  # ends before the files are closed
        for limits in _ranges(asked):
            asked.connection.execute(load("deliver/manifest"), limits)
            asked.connection.execute(load("deliver/undecided"), limits if errors else _NOTHING)
            for name in MANIFESTS:
                query, given = _rows_of(asked, name, links)
                if links.signer:
                    links.sign(asked.connection, query, given)
                    query, given = "from signed", {}
                rows[name] += written[name].add(asked.connection, query, given)
            uris, waiting = asked.connection.execute(load("deliver/written")).fetchall()[0]
            distinct_uris, pending = distinct_uris + uris, pending + waiting
    return Written(rows, distinct_uris, pending)


def _ranges(asked: Asked) -> Iterator[dict[str, str]]:
    """Yield the first URI of each range and the first one beyond; together they hold every URI."""
    ranges = max(1, round(asked.opened.listed / RANGE_OBJECTS))
    given = {"ranges": ranges, "sample": min(_SAMPLE, RANGE_OBJECTS)}
    cuts = asked.connection.execute(load("deliver/cuts"), given).fetchall() if ranges > 1 else []
    for low, high in pairwise([_BELOW_ALL, *(uri for (uri,) in cuts), _ABOVE_ALL]):
        yield {"low": low, "high": high}


def _rows_of(asked: Asked, name: str, links: Links) -> tuple[str, dict[str, Any]]:
    """Return the query of one manifest over the tables of a range, and its parameters."""
    decision = MANIFESTS[name]
    if decision is None:
        return load("deliver/errors"), dict(links.parameters)
    rules, facts = asked.rule_rows, asked.fact_rows
    words = {
        **{f"{column}s": rules[column].to_pylist() for column in ("rule", "reason", "quarantine")},
        **{f"{column}s": facts[column].to_pylist() for column in ("attribute", "operator", "threshold")},
    }
    return load("deliver/images"), {"decision": decision, **words, **links.parameters}


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, OSError) as error:
        raise LocationError(
            f"The manifests cannot be written: {' '.join(str(error).split())[:200]}.",
            "Nothing of the run is visible.",
            "Free some space, or run `clipsieve verify STORE` if it is the store that cannot be read.",
        ) from error
