"""What the queries of sql/apply answer: given tables and expected rows; see test_sql_queries.py."""

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from query.deliver.apply.in_place.steps import STEPS
from query.deliver.apply.journal import COPIES
from tests.sql_cases import Case, Row
from tests.stores import NOON

_TEXT, _NUMBER, _TIME, _TRUTH = pa.string(), pa.int64(), pa.timestamp("us", "UTC"), pa.bool_()
_OBJECT = {"key": _TEXT, "etag": _TEXT, "size_bytes": _NUMBER, "last_modified": _TIME, "version_id": _TEXT}
_MANIFEST = {"uri": _TEXT, "bucket": _TEXT, "key": _TEXT, "etag": _TEXT, "size_bytes": _TEXT, "sha256": _TEXT}
_DECIDED = {**_MANIFEST, "last_modified": _TEXT, "revision": _TEXT, "quarantine": _TEXT}
_PLANNED = {**_MANIFEST, "place": _NUMBER, "size_bytes": _NUMBER, "to_key": _TEXT}
_STATES = {
    "place": _NUMBER,
    "size_bytes": _NUMBER,
    "last_outcome": _TEXT,
    "detail": _TEXT,
    "is_missing": _TRUTH,
    "state": _TEXT,
}

APPLY_SCHEMAS = {
    **dict.fromkeys(["kept", "removed", "quarantined", "errors"], pa.schema(_DECIDED)),
    "planned": pa.schema(_PLANNED),
    **dict.fromkeys(["present", "settled"], pa.schema(_OBJECT)),
    "journal": pa.schema([*COPIES, *(field for field in STEPS if field.name not in COPIES.names)]),
    "latest": COPIES,
    "spans": pa.schema({**_OBJECT, "source_etag": _TEXT, "sha256": _TEXT, "since": _TIME, "ended": _TIME}),
    "ours": pa.schema({**_OBJECT, "certain": _TRUTH, "sha256": _TEXT}),
    "states": pa.schema(_STATES),
    "taken_back": pa.schema({**_OBJECT, "state": _TEXT, "place": _NUMBER}),
}


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def noted(key: str, seq: int, outcome: str, seconds: float = 0.0, **more: Any) -> Row:
    """A row of the journal, noted so long after noon; a copy was begun at that time."""
    since = {"since": at(seconds), "source_etag": "e", "size_bytes": 5} if outcome == "begun" else {}
    return {"key": key, "seq": seq, "outcome": outcome, "noted_at": at(seconds), **since, **more}


def stands(key: str, seconds: float = 0.0, **more: Any) -> Row:
    """An object that came to its key so long after noon."""
    return {"key": key, "etag": "e", "size_bytes": 5, "last_modified": at(seconds), **more}


def span(key: str, since: float, ended: float, **more: Any) -> Row:
    """The time in which a copy of an object with etag `e` and five bytes was under way."""
    return {"key": key, "source_etag": "e", "size_bytes": 5, "since": at(since), "ended": at(ended), **more}


KEPT = [
    {"uri": "s3://b/in/a.jpg", "bucket": "b", "key": "in/a.jpg", "etag": "e1", "size_bytes": "5"},
    {"uri": "s3://b/in/deep//ü.jpg", "bucket": "b", "key": "in/deep//ü.jpg", "etag": "e2", "size_bytes": "6"},
    {"uri": "s3://c/x.jpg", "bucket": "c", "key": "x.jpg", "etag": "e3", "size_bytes": "7"},
]

KNOWN: Row = {"bucket": "b", "etag": "e", "size_bytes": 1}

APPLY = [
    Case(
        "apply/planned",
        "a key loses the prefix of the longest source that fits; outside of all sources it has none",
        {"kept": KEPT},
        [
            {"place": 1, "uri": "s3://b/in/a.jpg", "size_bytes": 5, "to_key": "out/a.jpg"},
            {"place": 2, "uri": "s3://b/in/deep//ü.jpg", "size_bytes": 6, "to_key": "out//ü.jpg"},
            {"place": 3, "uri": "s3://c/x.jpg", "size_bytes": 7, "to_key": None},
        ],
        {"sources": ["s3://b/in/deep/", "s3://b/in/"], "prefix": "out/", "whole_keys": False},
    ),
    Case(
        "apply/planned",
        "with whole keys nothing is lost",
        {"kept": KEPT},
        [{"to_key": "out/b/in/a.jpg"}, {"to_key": "out/b/in/deep//ü.jpg"}, {"to_key": "out/c/x.jpg"}],
        {"sources": [], "prefix": "out/", "whole_keys": True},
    ),
    Case(
        "apply/unplaceable",
        "keys that are used once, not empty and not too long can be made",
        {"planned": [{**KNOWN, "to_key": "out/a"}, {**KNOWN, "to_key": "out/" + "x" * 1020}]},
        [],
        {"prefix": "out/"},
    ),
    Case(
        "apply/unplaceable",
        "each kind of problem is there, with its number and an example",
        {
            "planned": [
                {"uri": "u1", **KNOWN, "to_key": "out/twice"},
                {"uri": "u2", **KNOWN, "to_key": "out/twice"},
                {"uri": "u3", **KNOWN, "to_key": "out/" + "é" * 511},
                {"uri": "u4", **KNOWN, "to_key": "out/"},
                {"uri": "u5", **KNOWN},
                {"uri": "u6", "to_key": "out/file"},
                {"uri": "u7", "bucket": "b", "size_bytes": 1, "to_key": "out/imported"},
                {"uri": "u8", "bucket": "b", "etag": "e", "to_key": "out/other"},
            ]
        },
        [
            {"problem": "collision", "found": 1, "uri": "u1", "other_uri": "u2", "to_key": "out/twice"},
            {"problem": "empty", "found": 1, "uri": "u4", "other_uri": "u4", "to_key": "out/"},
            {"problem": "no_bucket", "found": 1, "uri": "u6", "other_uri": "u6", "to_key": "out/file"},
            {"problem": "outside", "found": 1, "uri": "u5", "other_uri": "u5", "to_key": None},
            {"problem": "too_long", "found": 1, "uri": "u3", "other_uri": "u3", "to_key": "out/" + "é" * 511},
            {"problem": "unknown", "found": 2, "uri": "u7", "other_uri": "u7", "to_key": "out/imported"},
        ],
        {"prefix": "out/"},
    ),
    Case(
        "apply/latest",
        "the last row of a key counts",
        {"journal": [noted("a", 1, "begun"), noted("a", 2, "copied", 5, etag="x"), noted("b", 2, "begun")]},
        [{"key": "a", "outcome": "copied", "etag": "x"}, {"key": "b", "outcome": "begun", "etag": None}],
    ),
    Case(
        "apply/spans",
        "a span ends with the note of how the copy ended, or an hour after it was begun; 3 seconds are for the clocks",
        {
            "journal": [
                *(noted("a", 1, "begun", 10), noted("a", 2, "copied", 20, etag="x", version_id="v")),
                *(noted("b", 1, "begun", 10), noted("b", 2, "begun", 500), noted("b", 3, "vanished", 510)),
                *(noted("c", 1, "begun", 10), noted("c", 2, "failed", 20), noted("c", 3, "uploading", 25)),
                noted("d", 1, "already_there", 10),
            ]
        },
        [
            {"key": "a", "since": at(7), "ended": at(23), "etag": "x", "version_id": "v"},
            {"key": "b", "since": at(7), "ended": at(3613), "etag": None, "version_id": None},
            {"key": "b", "since": at(497), "ended": at(513), "etag": None, "version_id": None},
            {"key": "c", "since": at(7), "ended": at(3613), "etag": None, "version_id": None},
        ],
    ),
    Case(
        "apply/ours",
        "an object is ours that came to its key while a copy of its size was under way",
        {
            "present": [
                stands("same", 5),
                stands("earlier", -1),
                stands("later", 11),
                stands("other size", 5, size_bytes=6),
                stands("other etag", 5, etag="f"),
                stands("recorded etag", 5, etag="f"),
                stands("never begun", 5),
            ],
            "spans": [
                *(span(key, 0, 10) for key in ("same", "earlier", "later", "other size", "other etag")),
                span("recorded etag", 0, 10, etag="f"),
            ],
        },
        [
            {"key": "other etag", "certain": False},
            {"key": "recorded etag", "certain": True},
            {"key": "same", "certain": True},
        ],
    ),
    Case(
        "apply/ours",
        "a version is ours by its recorded id, an object by its recorded etag and time; 'null' names no version",
        {
            "present": [
                stands("a", 99, version_id="v1"),
                stands("a", 99, version_id="v2"),
                stands("b", 99, version_id="null"),
                stands("c", -99),
                stands("d", -99),
            ],
            "spans": [
                span("a", 0, 10, version_id="v1"),
                span("b", 0, 10, version_id="null"),
                span("c", 0, 10, etag="e", last_modified=at(-99)),
                span("d", 0, 10, etag="e", last_modified=at(-90)),
            ],
        },
        [{"key": "a", "version_id": "v1", "certain": True}, {"key": "c", "version_id": None, "certain": True}],
    ),
    Case(
        "apply/states",
        "what lies at a key decides; where nothing does, what came of the copy when it was tried",
        {
            "planned": [
                {"place": place, "to_key": key, "etag": "e", "size_bytes": 5} for place, key in enumerate("abcdefghij")
            ],
            "present": [
                stands("a"),
                stands("b"),
                stands("c", etag="f"),
                stands("d", size_bytes=6),
                stands("e"),
                stands("f"),
            ],
            "ours": [{"key": "b", "certain": True}, {"key": "e", "certain": False}, {"key": "f", "certain": False}],
            "latest": [
                {"key": "e", "outcome": "begun"},
                {"key": "f", "outcome": "occupied"},
                {"key": "g", "outcome": "changed", "detail": "why"},
                {"key": "h", "outcome": "copied"},
                {"key": "i", "outcome": "deleted"},
            ],
        },
        [
            {"place": 0, "state": "already_there", "is_missing": False, "detail": None},
            {"place": 1, "state": "copied", "is_missing": False, "detail": None},
            {"place": 2, "state": "occupied", "is_missing": False, "detail": None},
            {"place": 3, "state": "occupied", "is_missing": False, "detail": None},
            {"place": 4, "state": "unsettled", "is_missing": False, "detail": None},
            {"place": 5, "state": "already_there", "is_missing": False, "detail": None},
            {"place": 6, "state": "changed", "is_missing": True, "detail": "why"},
            {"place": 7, "state": "missing", "is_missing": True, "detail": None},
            {"place": 8, "state": "to_copy", "is_missing": True, "detail": None},
            {"place": 9, "state": "to_copy", "is_missing": True, "detail": None},
        ],
    ),
    Case(
        "apply/tally",
        "objects and bytes of each state, and what of it is copied in parts",
        {
            "states": [
                {"state": "to_copy", "size_bytes": 10},
                {"state": "to_copy", "size_bytes": 11},
                {"state": "copied", "size_bytes": 2**62},
                {"state": "copied", "size_bytes": 1},
            ]
        },
        [
            {"state": "copied", "objects": 2, "size_bytes": 2**62 + 1, "in_parts": 1, "parts": 2**60},
            {"state": "to_copy", "objects": 2, "size_bytes": 21, "in_parts": 1, "parts": 3},
        ],
        {"parts_above_bytes": 10, "part_bytes": 4},
    ),
    Case(
        "apply/batch",
        "what is missing, from a place on, in order and not more than asked for",
        {
            "states": [{"place": place, "is_missing": place != 3} for place in (5, 4, 3, 2, 1)],
            "planned": [{"place": place, "to_key": f"k{place}"} for place in (5, 4, 3, 2, 1)],
        },
        [{"place": 2, "to_key": "k2"}, {"place": 4, "to_key": "k4"}],
        {"after": 1, "rows": 2},
    ),
    Case(
        "apply/unrecorded",
        "copies that no row records, and those that only their bytes can tell",
        {
            "states": [
                {"place": 1, "state": "copied", "last_outcome": "begun"},
                {"place": 2, "state": "copied", "last_outcome": "copied"},
                {"place": 3, "state": "unsettled", "last_outcome": "copied"},
                {"place": 4, "state": "to_copy", "last_outcome": "begun"},
            ],
            "planned": [
                {"place": place, "to_key": key, "etag": "e"} for place, key in zip((1, 2, 3, 4), "abcd", strict=True)
            ],
            "ours": [{"key": key, "etag": "made"} for key in "abcd"],
        },
        [
            {"to_key": "a", "source_etag": "e", "etag": "made"},
            {"to_key": "c", "source_etag": "e", "etag": "made"},
        ],
    ),
    Case(
        "apply/unfinished",
        "an upload that nothing was noted after",
        {
            "journal": [
                *(noted("a", 1, "begun"), noted("a", 2, "uploading", upload_id="u1")),
                *(noted("b", 2, "uploading", upload_id="u2"), noted("b", 3, "copied")),
            ]
        },
        [{"key": "a", "upload_id": "u1"}],
    ),
    Case(
        "apply/not_copied",
        "everything that is not as it should be, by URI",
        {
            "states": [
                {"place": 3, "state": "changed", "detail": "why"},
                {"place": 2, "state": "copied"},
                {"place": 1, "state": "occupied"},
                {"place": 0, "state": "already_there"},
            ],
            "planned": [{"place": place, "uri": f"u{place}"} for place in (3, 2, 1, 0)],
        },
        [{"uri": "u1", "state": "occupied", "detail": None}, {"uri": "u3", "state": "changed", "detail": "why"}],
    ),
    Case(
        "apply/others",
        "what lies there and is no copy of this run",
        {"present": [stands("a"), stands("z"), stands("y")], "planned": [{"to_key": "a"}, {"to_key": "b"}]},
        [{"objects": 2, "size_bytes": 10, "example": "y"}],
    ),
    Case(
        "apply/others",
        "nothing else",
        {"present": [], "planned": []},
        [{"objects": 0, "size_bytes": 0, "example": None}],
    ),
    Case(
        "apply/unsettled",
        "what is not certain is compared, where there is something to compare with",
        {
            "ours": [
                {"key": "a", "certain": True, "sha256": "s"},
                {"key": "b", "certain": False, "sha256": "s"},
                {"key": "c", "certain": False},
            ]
        },
        [{"key": "b", "sha256": "s"}],
    ),
    Case(
        "apply/taken_back",
        "ours goes, certain or settled; another's stays and is named, also where it lies above a version of ours",
        {
            "present": [
                stands("a", version_id="1"),
                *(stands("b", 1, version_id="1"), stands("b", 2, version_id="2", etag="theirs")),
                stands("c", etag="theirs"),
                stands("f", etag="theirs"),
                stands("g", etag="theirs"),
            ],
            "ours": [
                {"key": "a", "version_id": "1", "certain": True},
                {"key": "b", "version_id": "1", "certain": False},
                {"key": "c", "certain": False},
            ],
            "settled": [{"key": "b", "version_id": "1"}],
            "latest": [
                *({"key": key, "outcome": "copied"} for key in "abcd"),
                *({"key": key, "outcome": "deleted"} for key in "ef"),
                {"key": "g", "outcome": "already_there"},
            ],
        },
        [
            {"key": "a", "version_id": "1", "state": "ours", "place": 1},
            {"key": "b", "version_id": "1", "state": "ours", "place": 2},
            {"key": "b", "version_id": "2", "state": "not_ours", "place": 3},
            {"key": "c", "version_id": None, "state": "not_ours", "place": 4},
            {"key": "d", "version_id": None, "state": "gone", "place": 5},
            {"key": "f", "version_id": None, "state": "not_ours", "place": 6},
        ],
    ),
    Case(
        "apply/undo_tally",
        "how many of each kind, and three examples at most",
        {
            "taken_back": [
                *({"key": key, "state": "ours", "size_bytes": 5} for key in "dcba"),
                {"key": "x", "state": "gone"},
            ]
        },
        [
            {"state": "gone", "objects": 1, "size_bytes": 0, "examples": ["x"]},
            {"state": "ours", "objects": 4, "size_bytes": 20, "examples": ["a", "b", "c"]},
        ],
    ),
    Case(
        "apply/undo_batch",
        "what is ours, from a place on, in order and not more than asked for",
        {
            "taken_back": [
                {"key": f"k{place}", "place": place, "state": "gone" if place == 3 else "ours"}
                for place in (5, 4, 3, 2, 1)
            ]
        },
        [{"place": 2, "key": "k2"}, {"place": 4, "key": "k4"}],
        {"after": 1, "rows": 2},
    ),
    Case(
        "apply/moves",
        "what is removed or quarantined in one source, each with its folder, by URI",
        {
            "removed": [
                {"uri": "file:///d/z.jpg", "size_bytes": "5", "last_modified": "2026-01-01 12:00:00+00"},
                {"uri": "file:///other/z.jpg", "size_bytes": "5"},
            ],
            "quarantined": [
                {"uri": "file:///d/a%20b/a.jpg", "size_bytes": "6", "quarantine": "masked", "revision": "6-1"}
            ],
        },
        [
            {
                "below": "a%20b/a.jpg",
                "folder": "_masked",
                "size_bytes": 6,
                "last_modified": None,
                "revision": "6-1",
            },
            {"below": "z.jpg", "folder": "_dropped", "size_bytes": 5, "last_modified": NOON, "revision": None},
        ],
        {"source": "file:///d/"},
    ),
    Case(
        "apply/staying_folders",
        "each folder in which something is kept or undecided, once; the root is the empty one",
        {
            "kept": [{"uri": f"file:///d/{path}"} for path in ("g/1.jpg", "g/2.jpg", "top.jpg", "x%20y/z/1.jpg")],
            "errors": [{"uri": "file:///d/h/1.jpg"}, {"uri": "file:///elsewhere/h/1.jpg"}],
        },
        [{"folder": ""}, {"folder": "g"}, {"folder": "h"}, {"folder": "x%20y/z"}],
        {"source": "file:///d/"},
    ),
    Case(
        "apply/steps",
        "every step, in the order in which they were noted",
        {
            "journal": [
                {"seq": 2, "kind": "move", "path": "b", "to_path": "_dropped/b", "size_bytes": 5, "mtime_ns": 7},
                {"seq": 1, "kind": "make", "path": "_dropped"},
            ]
        },
        [
            {"kind": "make", "path": "_dropped", "to_path": None, "mtime_ns": None},
            {"kind": "move", "path": "b", "to_path": "_dropped/b", "mtime_ns": 7},
        ],
    ),
]

ORDERED_APPLY = {
    f"apply/{name}"
    for name in (
        *("planned", "unplaceable", "tally", "batch", "unrecorded", "unfinished", "not_copied", "taken_back", "steps"),
        *("undo_tally", "undo_batch", "unsettled", "moves", "staying_folders"),
    )
}
