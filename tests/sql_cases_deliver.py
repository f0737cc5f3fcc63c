"""What the queries of links and reports answer; see test_sql_queries.py."""

from datetime import UTC, datetime

import pyarrow as pa

from tests.sql_cases import Case
from tests.stores import NOON

UNTIL = datetime(2026, 1, 8, 12, tzinfo=UTC)

DELIVER_SCHEMAS = {
    "unsigned": pa.schema({"uri": pa.string(), "bucket": pa.string(), "key": pa.string()}),
    "valued": pa.schema({"value": pa.float64()}),
    "compared_values": pa.schema({"image_id": pa.uuid(), "people": pa.float64()}),
    "held": pa.schema({"image_id": pa.uuid()}),
}


def presign(buckets: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.Array:
    """Stand where the function of query/deliver/links.py does."""
    pairs = zip(buckets.to_pylist(), keys.to_pylist(), strict=True)
    return pa.array([f"{bucket}|{key}" if bucket else None for bucket, key in pairs], pa.string())


DELIVERS = [
    Case(
        "deliver/buckets",
        "each bucket once; a file has none",
        {"current_objects": [{"bucket": "b"}, {"bucket": "a"}, {"bucket": "b"}, {"uri": "file:///x"}]},
        [{"bucket": "a"}, {"bucket": "b"}],
    ),
    Case(
        "deliver/signed",
        "an object of a bucket gets a URL and its end, a file neither; the order stays",
        {
            "unsigned": [
                {"uri": "u2", "bucket": "b", "key": "k2"},
                {"uri": "u1"},
                {"uri": "u3", "bucket": "b", "key": "k"},
            ]
        },
        [
            {"uri": "u2", "presigned_url": "b|k2", "presigned_until": UNTIL},
            {"uri": "u1", "presigned_url": None, "presigned_until": None},
            {"uri": "u3", "presigned_url": "b|k", "presigned_until": UNTIL},
        ],
        {"until": UNTIL},
    ),
    Case(
        "report/histogram",
        "each value stands in its bin; both ends, and what lies beyond them, in the outermost; null in none",
        {"valued": [{"value": v} for v in (0.0, 0.24, 0.25, 0.5, 1.0, 7.0, -1.0, None, float("nan"))]},
        [{"bin": 0, "images": 3}, {"bin": 1, "images": 1}, {"bin": 2, "images": 1}, {"bin": 3, "images": 2}],
        {"low": 0.0, "high": 1.0, "bins": 4},
    ),
    Case(
        "report/ends",
        "of 1,000 values the outermost on either side are left out",
        {"valued": [*({"value": float(v)} for v in range(1000)), {"value": float("inf")}, {"value": None}]},
        [{"low": 4.0, "high": 994.0}],
    ),
    Case(
        "report/certain",
        "the furthest from the threshold first, on whichever side of it; of this rule only",
        {
            "decided": [
                {"image_id": 1, "rule_number": 1, "fact": 1, "score": 0.6},
                {"image_id": 2, "rule_number": 1, "fact": 1, "score": 0.9},
                {"image_id": 3, "rule_number": 1, "fact": 2, "score": 3.0},
                {"image_id": 4, "rule_number": 2, "fact": 1, "score": 1.0},
                {"image_id": 5, "rule_number": 1},
            ],
            "facts": [{"fact": 1, "threshold": 0.5}, {"fact": 2, "threshold": 9.0}],
        },
        [{"image_id": 3, "score": 3.0}, {"image_id": 2, "score": 0.9}, {"image_id": 1, "score": 0.6}],
        {"rule": 1, "images": 3},
    ),
    Case(
        "report/kept",
        "what no rule decides, or a rule keeps",
        {
            "held": [{"image_id": k} for k in (1, 2, 3, 4)],
            "decided": [{"image_id": k, "rule_number": k} for k in (1, 2, 3)],
            "rules": [{"number": k, "decision": d} for k, d in enumerate(("remove", "keep", "quarantine"), 1)],
        },
        [{"image_id": 2}, {"image_id": 4}],
        {"seed": 1, "images": 9},
    ),
    Case(
        "report/shown",
        "an image that no rule decides is kept; only what is asked for",
        {
            "current_objects": [{"image_id": k, "uri": f"u{k}"} for k in (1, 2, 3)],
            "compared_values": [{"image_id": k, "people": k / 4} for k in (1, 2, 3)],
            "decided": [{"image_id": k, "rule_number": 1} for k in (2, 3)],
            "rules": [{"number": 1, "rule": "r", "action": "remove"}],
        },
        [
            {"image_id": 1, "uri": "u1", "becomes": "keep", "rule": None, "people": 0.25},
            {"image_id": 2, "uri": "u2", "becomes": "remove", "rule": "r", "people": 0.5},
        ],
        {"image_ids": ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]},
    ),
    Case(
        "report/error_counts",
        "each reason with its number, the most frequent first; what is embedded is no error",
        {
            "current_images": [
                {"uri": "u1", "status": "embedded", "last_modified": NOON},
                {"uri": "u3", "status": "failed", "error_code": "truncated"},
                {"uri": "u2", "status": "failed", "error_code": "truncated"},
                {"uri": "u4", "status": "pending"},
                {"uri": "u5", "status": "not_an_image"},
            ]
        },
        [
            {"reason": "truncated", "objects": 2, "example": "u2"},
            {"reason": "no image", "objects": 1, "example": "u5"},
            {"reason": "not read yet", "objects": 1, "example": "u4"},
        ],
    ),
]
ORDERED_DELIVERS = {f"report/{name}" for name in ("histogram", "certain", "error_counts")}
