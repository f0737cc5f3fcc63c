"""What the queries of policies and their manifests answer; see test_sql_queries.py."""

import pyarrow as pa

from query.rules.asked import FACTS, RULES
from store.schema import LISTING, images_schema
from tests.sql_cases import Case, Row
from tests.stores import NOON

DECIDED = pa.schema(
    {
        "image_id": pa.uuid(),
        "rule_number": pa.int32(),
        "fact": pa.int32(),
        "score": pa.float64(),
        "group_name": pa.string(),
        "duplicate_of": pa.string(),
    }
)
SIDES = pa.schema({"image_id": pa.uuid(), "side": pa.string(), "rule": pa.string()})
MANIFEST = pa.schema(
    [
        *(LISTING.field(name) for name in ("uri", "bucket", "key", "etag", "size_bytes", "last_modified")),
        *(images_schema(2).field(name) for name in ("version_id", "sha256", "width_px", "height_px", "format")),
        pa.field("people", pa.float32()),
        *(field for field in DECIDED if field.name != "image_id"),
        pa.field("decision", pa.string()),
    ]
)
COUNTS = pa.list_(pa.int64())
PAIR = pa.struct({"upper_number": pa.int32(), "lower_number": pa.int32(), "images": pa.int64()})
RULE_SCHEMAS = {
    "rules": RULES,
    "facts": FACTS,
    "decided": DECIDED,
    "counted": pa.schema({"group_name": pa.string(), "images": pa.int64(), "flagged": pa.list_(pa.int64())}),
    "outcomes": pa.schema({"group_name": pa.string(), "rule_number": pa.int32(), "images": pa.int64()}),
    "totals": pa.schema({"images": pa.int64(), "holds": COUNTS, "either": COUNTS, "both_hold": pa.list_(PAIR)}),
    "compared": pa.schema({"image_id": pa.uuid(), "score": pa.float32(), "holds": pa.bool_()}),
    "near": pa.schema(
        {
            "number": pa.int32(),
            "rule": pa.string(),
            "comparison": pa.string(),
            "place": pa.int32(),
            "image_id": pa.uuid(),
            "holds": pa.bool_(),
            "score": pa.float64(),
            "distance": pa.float64(),
        }
    ),
    "before": SIDES,
    "after": SIDES,
    "changed": pa.schema(
        {
            "image_id": pa.uuid(),
            **dict.fromkeys(["was", "was_by", "becomes", "becomes_by"], pa.string()),
        }
    ),
    "manifest": MANIFEST,
    "undecided": pa.schema(
        [
            *(LISTING.field(name) for name in ("uri", "bucket", "key", "etag", "size_bytes", "last_modified")),
            *(images_schema(2).field(name) for name in ("version_id", "status", "error_code", "error_detail")),
        ]
    ),
}

NO_CONFIDENCE = {"share_at_least": 0.4, "count_at_least": 1, "z": 0.0, "first_fact": 7}
RULE_ROWS: list[Row] = [
    {"number": 1, "rule": "small", "reason": "too small", "decision": "remove", "action": "remove"},
    {"number": 2, "rule": "ours", "reason": "ours", "decision": "keep", "action": "keep"},
    {
        "number": 3,
        "rule": "g",
        "reason": "bad",
        "decision": "quarantine",
        "quarantine": "bad",
        "action": "quarantine bad",
    },
]
FACT_ROWS: list[Row] = [
    {"fact": 1, "attribute": "width_px", "operator": "<", "threshold": 9.0},
    {"fact": 2, "attribute": "share of mask", "operator": ">=", "threshold": 0.4},
]
DECIDED_ROWS: list[Row] = [
    {"image_id": 1, "rule_number": 1, "fact": 1, "score": 5.0},
    {"image_id": 2, "rule_number": 2},
    {"image_id": 3, "rule_number": 3, "fact": 2, "score": 0.5, "group_name": "anna"},
]
DUPLICATE: Row = {"rule_number": 1, "fact": 1, "score": 0.97, "duplicate_of": "u2"}
WORDS = {
    "rules": ["small", "ours", "g"],
    "reasons": ["too small", "ours", "bad"],
    "quarantines": [None, None, "bad"],
    "attributes": ["width_px", "share of mask"],
    "operators": ["<", ">="],
    "thresholds": [9.0, 0.4],
    "buckets": ["a", "b"],
    "bases": ["https://a.s3.x/", "https://b.s3.x/"],
}
ODD_KEY: Row = {"bucket": "b", "key": "k /+%ü"}
ADDRESSED: list[Row] = [
    {"uri": "u1", "s3_uri": "s3://b/k /+%ü", "https_url": "https://b.s3.x/k%20/%2B%25%C3%BC"},
    {"uri": "u2", "s3_uri": "s3://elsewhere/k", "https_url": None},
    {"uri": "u3", "s3_uri": None, "https_url": None},
]
NOTHING_DECIDED = dict.fromkeys(["rule", "attribute", "score", "threshold", "group_name", "quarantine"])
EVERY_URI = {"low": "", "high": "\U0010ffff"}


def both(upper: int, lower: int, images: int) -> Row:
    """So many images for which two rules hold."""
    return {"upper_number": upper, "lower_number": lower, "images": images}


def near(number: int, image_id: int, side: str, distance: float, place: int = 0) -> Row:
    """An image near a threshold, on the side `+` where the comparison holds or on the other."""
    return {"number": number, "place": place, "image_id": image_id, "holds": side == "+", "distance": distance}


def change(images: int, was: str, was_by: str | None, becomes: str, becomes_by: str | None) -> Row:
    """A row of the changes."""
    return {"was": was, "was_by": was_by, "becomes": becomes, "becomes_by": becomes_by, "images": images}


CHANGED: list[Row] = [
    {"image_id": 1, "was": "keep", "becomes": "remove", "becomes_by": "b"},
    {"image_id": 2, "was": "remove", "was_by": "a", "becomes": "keep"},
    {"image_id": 3, "was": "keep", "becomes": "remove", "becomes_by": "b"},
    {"image_id": 4, "was": "keep", "becomes": "remove", "becomes_by": "b"},
]

RULES_AND_MANIFESTS = [
    Case(
        "rules/shares",
        "equality is enough; each attribute is counted by itself, and flags of two are not added up",
        {
            "counted": [
                {"group_name": "two of five", "images": 5, "flagged": [2, 0]},
                {"group_name": "one of each", "images": 5, "flagged": [1, 1]},
                {"group_name": "the second", "images": 5, "flagged": [1, 3]},
                {"group_name": "none", "images": 5, "flagged": [0, 0]},
            ]
        },
        [
            {"group_name": "the second", "fact": 8, "score": 0.6},
            {"group_name": "two of five", "fact": 7, "score": 0.4},
        ],
        NO_CONFIDENCE,
    ),
    Case(
        "rules/shares",
        "of two attributes the larger share decides, of equal ones the first; a group is there once",
        {
            "counted": [
                {"group_name": "a", "images": 4, "flagged": [2, 3]},
                {"group_name": "b", "images": 4, "flagged": [3, 3]},
            ]
        },
        [{"group_name": "a", "fact": 8, "score": 0.75}, {"group_name": "b", "fact": 7, "score": 0.75}],
        NO_CONFIDENCE,
    ),
    Case(
        "rules/shares",
        "a number of flagged images may be asked for beside the share",
        {
            "counted": [
                {"group_name": "1 of 2", "images": 2, "flagged": [1]},
                {"group_name": "3 of 6", "images": 6, "flagged": [3]},
                {"group_name": "3 of 9", "images": 9, "flagged": [3]},
            ]
        },
        [{"group_name": "3 of 6", "fact": 7, "score": 0.5}],
        {**NO_CONFIDENCE, "count_at_least": 3},
    ),
    Case(
        "rules/shares",
        "with a confidence the lower end of Wilson's interval must reach the share: of n of n it is n / (n + z * z)",
        {
            "counted": [
                {"group_name": "2 of 2", "images": 2, "flagged": [2]},
                {"group_name": "4 of 4", "images": 4, "flagged": [4]},
                {"group_name": "0 of 4", "images": 4, "flagged": [0]},
            ]
        },
        [{"group_name": "4 of 4", "fact": 7, "score": 0.5}],
        {**NO_CONFIDENCE, "z": 2.0},
    ),
    Case(
        "rules/survivors",
        "few are left and something was removed; what is kept survives, what is quarantined does neither",
        {
            "outcomes": [
                {"group_name": "pruned", "rule_number": 1, "images": 1},
                {"group_name": "pruned", "images": 2},
                {"group_name": "pruned", "rule_number": 2, "images": 2},
                {"group_name": "enough", "rule_number": 1, "images": 9},
                {"group_name": "enough", "rule_number": 2, "images": 2},
                {"group_name": "enough", "images": 3},
                {"group_name": "small", "images": 1},
                {"group_name": "quarantined", "rule_number": 3, "images": 9},
                {"group_name": "gone", "rule_number": 1, "images": 2},
                {"group_name": "gone", "rule_number": 3, "images": 7},
            ],
            "rules": RULE_ROWS,
        },
        [{"group_name": "gone", "fact": 4, "score": 0.0}, {"group_name": "pruned", "fact": 4, "score": 4.0}],
        {"survivors_below": 5, "fact": 4},
    ),
    Case(
        "rules/rule_counts",
        "the first rule that holds decides; every rule is there, in its order, with all that it holds for",
        {
            "totals": [{"images": 21, "holds": [6, 4, 8, 0], "either": [6, 9, 11, 11]}],
            "rules": [*reversed(RULE_ROWS), {"number": 4, "rule": "never", "action": "remove"}],
        },
        [
            {"number": 1, "rule": "small", "action": "remove", "decides": 6, "holds_for": 6},
            {"number": 2, "rule": "ours", "action": "keep", "decides": 3, "holds_for": 4},
            {"number": 3, "rule": "g", "action": "quarantine bad", "decides": 2, "holds_for": 8},
            {"number": 4, "rule": "never", "action": "remove", "decides": 0, "holds_for": 0},
        ],
    ),
    Case(
        "rules/overlaps",
        "of each pair what both hold for, in the order of the rules; pairs without a common image are not there",
        {
            "totals": [{"both_hold": [both(1, 3, 8), both(1, 2, 1), both(2, 3, 0)]}],
            "rules": RULE_ROWS,
        },
        [
            {"upper_number": 1, "upper_rule": "small", "lower_number": 2, "lower_rule": "ours", "images": 1},
            {"upper_number": 1, "upper_rule": "small", "lower_number": 3, "lower_rule": "g", "images": 8},
        ],
    ),
    Case(
        "rules/listed_objects",
        "every object counts",
        {"current_objects": [{"uri": "a"}, {"uri": "b"}]},
        [{"objects": 2}],
    ),
    Case(
        "rules/nearest",
        "the nearest of each side, equality on the side where the comparison holds; null is on neither",
        {
            "compared": [
                {"image_id": 1, "score": 0.5, "holds": True},
                {"image_id": 2, "score": 1.0, "holds": True},
                {"image_id": 3, "score": 0.75, "holds": True},
                {"image_id": 4, "score": 0.0, "holds": False},
                {"image_id": 5, "score": 0.25, "holds": False},
                {"image_id": 6},
            ]
        },
        [
            {"image_id": 1, "holds": True, "score": 0.5, "distance": 0.0},
            {"image_id": 3, "holds": True, "score": 0.75, "distance": 0.25},
            {"image_id": 4, "holds": False, "score": 0.0, "distance": 0.5},
            {"image_id": 5, "holds": False, "score": 0.25, "distance": 0.25},
        ],
        {"threshold": 0.5, "images": 2},
    ),
    Case(
        "rules/named",
        "in the order of rules and comparisons, first where it holds, then by distance, then by URI",
        {
            "near": [
                near(2, 4, "+", 0.1),
                near(1, 3, "+", 0.1, place=1),
                near(1, 1, "-", 0.0),
                near(1, 2, "+", 0.2),
                near(1, 4, "+", 0.1),
                near(1, 3, "+", 0.1),
            ],
            "current_objects": [{"image_id": k, "uri": f"u{k}"} for k in (1, 2, 3, 4)],
        },
        [
            {"number": number, "uri": uri}
            for number, uri in ((1, "u3"), (1, "u4"), (1, "u2"), (1, "u1"), (1, "u3"), (2, "u4"))
        ],
    ),
    Case(
        "rules/decisions",
        "what is not embedded is an error, what a rule decides has its reason, the rest is kept",
        {
            "current_images": [
                *({"image_id": k, "uri": f"u{k}", "status": "embedded"} for k in (1, 2, 3, 4)),
                {"image_id": 5, "uri": "u5", "status": "failed"},
                {"image_id": 6, "uri": "u6", "status": "pending"},
                {"image_id": 7, "uri": "u7", "status": "not_an_image"},
            ],
            "decided": DECIDED_ROWS,
            "rules": RULE_ROWS,
            "facts": FACT_ROWS,
        },
        [
            {
                "image_id": 1,
                "decision": "remove",
                "rule_number": 1,
                "rule": "small",
                "reason": "too small",
                "attribute": "width_px",
                "score": 5.0,
                "operator": "<",
                "threshold": 9.0,
                "group_name": None,
                "quarantine": None,
            },
            {
                "image_id": 2,
                "decision": "keep",
                "rule_number": 2,
                "rule": "ours",
                "reason": "ours",
                **dict.fromkeys(["attribute", "score", "operator", "threshold", "group_name", "quarantine"]),
            },
            {
                "image_id": 3,
                "decision": "quarantine",
                "rule_number": 3,
                "rule": "g",
                "reason": "bad",
                "attribute": "share of mask",
                "score": 0.5,
                "operator": ">=",
                "threshold": 0.4,
                "group_name": "anna",
                "quarantine": "bad",
            },
            *(
                {
                    "image_id": k,
                    "decision": "keep" if k == 4 else "error",
                    "rule_number": None,
                    "rule": None,
                    **dict.fromkeys(
                        ["reason", "attribute", "score", "operator", "threshold", "group_name", "quarantine"]
                    ),
                }
                for k in (4, 5, 6, 7)
            ),
        ],
    ),
    Case(
        "rules/decisions",
        "a duplicate has the URI of its partner and the cosine, which is its score; other decisions have neither",
        {
            "current_images": [{"image_id": k, "uri": f"u{k}", "status": "embedded"} for k in (1, 2, 3)],
            "decided": [DECIDED_ROWS[0], {**DUPLICATE, "image_id": 3}],
            "rules": RULE_ROWS,
            "facts": FACT_ROWS,
        },
        [
            {"image_id": 1, "score": 5.0, "duplicate_of": None, "cosine": None},
            {"image_id": 2, "score": None, "duplicate_of": None, "cosine": None},
            {"image_id": 3, "score": 0.97, "duplicate_of": "u2", "cosine": 0.97},
        ],
    ),
    Case(
        "rules/sides",
        "what a rule decides stands on its side, with the rule's name",
        {"decided": DECIDED_ROWS, "rules": RULE_ROWS},
        [
            {"image_id": 1, "side": "remove", "rule": "small"},
            {"image_id": 2, "side": "keep", "rule": "ours"},
            {"image_id": 3, "side": "quarantine bad", "rule": "g"},
        ],
    ),
    Case(
        "rules/changed",
        "what no rule decides is kept; another rule on the same side changes nothing, another label does",
        {
            "before": [
                {"image_id": 1, "side": "remove", "rule": "a"},
                {"image_id": 2, "side": "remove", "rule": "a"},
                {"image_id": 3, "side": "keep", "rule": "k"},
                {"image_id": 4, "side": "quarantine thin", "rule": "t"},
            ],
            "after": [
                {"image_id": 1, "side": "remove", "rule": "b"},
                {"image_id": 4, "side": "quarantine masked", "rule": "m"},
                {"image_id": 5, "side": "remove", "rule": "b"},
                {"image_id": 6, "side": "keep", "rule": "k"},
            ],
        },
        [
            {"image_id": 2, "was": "remove", "was_by": "a", "becomes": "keep", "becomes_by": None},
            {"image_id": 4, "was": "quarantine thin", "was_by": "t", "becomes": "quarantine masked", "becomes_by": "m"},
            {"image_id": 5, "was": "keep", "was_by": None, "becomes": "remove", "becomes_by": "b"},
        ],
    ),
    Case(
        "rules/changes",
        "the most frequent change comes first",
        {"changed": CHANGED},
        [change(3, "keep", None, "remove", "b"), change(1, "remove", "a", "keep", None)],
    ),
    Case(
        "rules/changed_images",
        "so many of each change, by URI",
        {"changed": CHANGED, "current_objects": [{"image_id": k, "uri": f"u{9 - k}"} for k in (1, 2, 3, 4)]},
        [
            {"uri": "u5", "was": "keep", "was_by": None, "becomes": "remove", "becomes_by": "b"},
            {"uri": "u6", "was": "keep", "was_by": None, "becomes": "remove", "becomes_by": "b"},
            {"uri": "u7", "was": "remove", "was_by": "a", "becomes": "keep", "becomes_by": None},
        ],
        {"examples": 2},
    ),
    Case(
        "deliver/cuts",
        "ranges of the same number of objects, each named by its first URI",
        {"current_objects": [{"image_id": k, "uri": f"u{k}"} for k in (7, 3, 5, 1, 2, 4, 6)]},
        [{"uri": "u4"}, {"uri": "u6"}],
        {"ranges": 3, "sample": 1},
    ),
    Case(
        "deliver/manifest",
        "the embedded images of the range, by URI: as listed, as read, with scores and the numbers of what decided",
        {
            "current_objects": [
                {"image_id": 3, "uri": "u3", "key": "k3", "revision": "9-9"},
                {"image_id": 2, "uri": "u2", "key": "k2", "etag": "e", "revision": "e"},
                *({"image_id": k, "uri": f"u{k}"} for k in (1, 4, 5)),
            ],
            "images": [
                *({"image_id": k, "uri": f"u{k}", "status": "embedded", "width_px": k} for k in (1, 2, 3, 4, 9)),
                {"image_id": 5, "uri": "u5", "status": "failed"},
            ],
            "score_rows": [
                {"image_id": 2, "run_id": "r1", "uri": "u2", "people": 0.25},
                {"image_id": 2, "run_id": "r2", "uri": "u2", "people": 0.5},
            ],
            "superseded": [{"image_id": 2, "run_id": "r1"}],
            "decided": [*DECIDED_ROWS, {**DUPLICATE, "image_id": 4}],
            "rules": RULE_ROWS,
        },
        [
            {
                "uri": "u2",
                "key": "k2",
                "revision": None,
                "width_px": 2,
                "people": 0.5,
                "decision": "keep",
                "rule_number": 2,
                "fact": None,
                "score": None,
                "group_name": None,
                "duplicate_of": None,
            },
            {
                "uri": "u3",
                "key": "k3",
                "revision": "9-9",
                "width_px": 3,
                "people": None,
                "decision": "quarantine",
                "rule_number": 3,
                "fact": 2,
                "score": 0.5,
                "group_name": "anna",
                "duplicate_of": None,
            },
            {
                "uri": "u4",
                "key": None,
                "revision": None,
                "width_px": 4,
                "people": None,
                "decision": "remove",
                "group_name": None,
                **DUPLICATE,
            },
        ],
        {"low": "u2", "high": "u6"},
    ),
    Case(
        "deliver/images",
        "what a rule decides has its words; in the order of the table",
        {
            "manifest": [
                {
                    "uri": "u2",
                    "people": 0.5,
                    "rule_number": 3,
                    "fact": 2,
                    "score": 0.5,
                    "group_name": "anna",
                    "decision": "x",
                },
                {"uri": "u1", "people": 0.25, "rule_number": 1, "fact": 1, "score": 5.0, "decision": "x"},
                {"uri": "u3", "decision": "x"},
                {"uri": "u4", "decision": "y"},
            ]
        },
        [
            {
                "uri": "u2",
                "people": 0.5,
                "rule": "g",
                "reason": "bad",
                "attribute": "share of mask",
                "score": 0.5,
                "operator": ">=",
                "threshold": 0.4,
                "group_name": "anna",
                "quarantine": "bad",
            },
            {
                "uri": "u1",
                "people": 0.25,
                "rule": "small",
                "reason": "too small",
                "attribute": "width_px",
                "score": 5.0,
                "operator": "<",
                "threshold": 9.0,
                "group_name": None,
                "quarantine": None,
            },
            {"uri": "u3", "people": None, "reason": None, "operator": None, **NOTHING_DECIDED},
        ],
        {"decision": "x", **WORDS},
    ),
    Case(
        "deliver/images",
        "a duplicate has its partner and the cosine, which is its score; others have neither",
        {
            "manifest": [
                {"uri": "u1", "score": 0.5, "decision": "remove"},
                {**DUPLICATE, "uri": "u2", "decision": "remove"},
            ]
        },
        [
            {"uri": "u1", "score": 0.5, "duplicate_of": None, "cosine": None},
            {"uri": "u2", "score": 0.97, "duplicate_of": "u2", "cosine": 0.97},
        ],
        {"decision": "remove", **WORDS},
    ),
    Case(
        "deliver/images",
        "an object has an address, percent-encoded where its bucket's is known; a file has none",
        {
            "manifest": [
                {"uri": "u1", **ODD_KEY, "decision": "x"},
                {"uri": "u2", "bucket": "elsewhere", "key": "k", "decision": "x"},
                {"uri": "u3", "key": "k", "decision": "x"},
            ]
        },
        ADDRESSED,
        {"decision": "x", **WORDS},
    ),
    Case(
        "deliver/errors",
        "what could not be decided has its address as well",
        {"undecided": [{"uri": "u1", **ODD_KEY}, {"uri": "u2", "bucket": "elsewhere", "key": "k"}, {"uri": "u3"}]},
        ADDRESSED,
        {name: WORDS[name] for name in ("buckets", "bases")},
    ),
    Case(
        "deliver/undecided",
        "what is not embedded, by URI, with its reason; an object without a row was not read yet",
        {
            "current_objects": [{"image_id": k, "uri": f"u{9 - k}", "last_modified": NOON} for k in (1, 2, 3, 4, 5)],
            "images": [
                {"image_id": 1, "uri": "u8", "status": "embedded"},
                {"image_id": 2, "uri": "u7", "status": "failed", "error_code": "empty", "error_detail": "0 bytes"},
                {"image_id": 4, "uri": "u5", "status": "not_an_image"},
                {"image_id": 5, "uri": "u4", "status": "failed"},
            ],
        },
        [
            {"uri": "u5", "status": "not_an_image", "error_code": None, "error_detail": None},
            {"uri": "u6", "status": "pending", "error_code": "not_read_yet", "error_detail": None},
            {"uri": "u7", "status": "failed", "error_code": "empty", "error_detail": "0 bytes"},
        ],
        {"low": "u5", "high": "u9"},
    ),
    Case(
        "deliver/errors",
        "all of the table, in its order",
        {"undecided": [{"uri": "u2", "status": "failed", "error_code": "empty"}, {"uri": "u1", "status": "pending"}]},
        [
            {"uri": "u2", "status": "failed", "error_code": "empty"},
            {"uri": "u1", "status": "pending", "error_code": None},
        ],
        {"buckets": [], "bases": []},
    ),
    Case(
        "deliver/written",
        "a URI that stands in two rows counts once",
        {
            "manifest": [{"uri": "u1"}, {"uri": "u1"}, {"uri": "u2"}],
            "undecided": [{"uri": "u2", "status": "pending"}, {"uri": "u3", "status": "failed"}],
        },
        [{"distinct_uris": 3, "pending": 1}],
    ),
    Case(
        "deliver/sources",
        "every source once",
        {"listing_rows": [{"source": "b"}, {"source": "a"}, {"source": "b"}]},
        [{"source": "a"}, {"source": "b"}],
    ),
]
ORDERED_RULES = {f"rules/{name}" for name in ("rule_counts", "overlaps", "named", "changes", "changed_images")}
