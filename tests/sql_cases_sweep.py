"""What the queries of sweeps answer, and the views that stand for what is not there; see test_sql_queries.py."""

import pyarrow as pa

from tests.sql_cases import Case, Row, found, outcomes

SWEEP_SCHEMAS = {
    "scored": pa.schema({"score": pa.float32(), "other_score": pa.float32(), "group_name": pa.string()}),
    "held": pa.schema({"image_id": pa.uuid()}),
    "relisted": pa.schema({"source": pa.string(), "run_id": pa.string(), "uri": pa.string()}),
    "covered": pa.schema({"source": pa.string(), "run_id": pa.string(), "newer_source": pa.string()}),
}
HALVES = {"first": 0, "step": 1, "per": 2, "steps": 2, "below": False}
RATING = {"first": 2, "step": 9, "per": 2, "steps": 2, "below": True}
OTHER_RATING = {f"other_{name}": value for name, value in RATING.items()}


def removed(threshold: float, count: int, kept: int, share: float | None) -> Row:
    """A row of a sweep."""
    return {"threshold": threshold, "removed": count, "kept": kept, "removed_share": share}


def pairs(*counts: int) -> list[Row]:
    """The rows of a grid of two halves by a rating from 1 to 10: what is removed of four images."""
    at = [(one, other) for one in (0.0, 0.5, 1.0) for other in (1.0, 5.5, 10.0)]
    return [{"threshold": t, "other_threshold": o, "removed": n} for (t, o), n in zip(at, counts, strict=True)]


PAIRS = [
    {"score": 0.25, "other_score": 5.5},
    {"score": 0.5, "other_score": 1.0},
    {"score": 1.0, "other_score": 5.25},
    {"score": 0.75, "other_score": 11.5},
]

SWEEPS = [
    Case(
        "rules/sweep_groups",
        "each group by itself, those without a name together",
        {
            "scored": [
                {"score": 0.5, "group_name": "a"},
                {"score": 0.25, "group_name": "a"},
                {"score": 1.0, "group_name": "b"},
                {"score": 0.5, "group_name": None},
            ]
        },
        [
            {"group_name": "a", **removed(0.0, 2, 0, 1.0)},
            {"group_name": "a", **removed(0.5, 1, 1, 0.5)},
            {"group_name": "a", **removed(1.0, 0, 2, 0.0)},
            {"group_name": "b", **removed(0.0, 1, 0, 1.0)},
            {"group_name": "b", **removed(0.5, 1, 0, 1.0)},
            {"group_name": "b", **removed(1.0, 1, 0, 1.0)},
            {"group_name": None, **removed(0.0, 1, 0, 1.0)},
            {"group_name": None, **removed(0.5, 1, 0, 1.0)},
            {"group_name": None, **removed(1.0, 0, 1, 0.0)},
        ],
        HALVES,
    ),
    Case(
        "rules/sweep_groups",
        "below a threshold the others of a group go",
        {"scored": [{"score": 1.0, "group_name": "a"}, {"score": 5.25, "group_name": "a"}]},
        [{"group_name": "a", **removed(t, n, 2 - n, n / 2)} for t, n in ((1.0, 0), (5.5, 2), (10.0, 2))],
        RATING,
    ),
    Case(
        "rules/sweep_grid",
        "both must hold: at least the one, below the other",
        {"scored": PAIRS},
        pairs(0, 2, 3, 0, 2, 2, 0, 1, 1),
        {**HALVES, **OTHER_RATING, "either": False},
    ),
    Case(
        "rules/sweep_grid",
        "one is enough: at least the one, or below the other",
        {"scored": PAIRS},
        pairs(4, 4, 4, 3, 3, 4, 1, 2, 3),
        {**HALVES, **OTHER_RATING, "either": True},
    ),
    Case(
        "rules/sweep_grid",
        "both below, and both at least",
        {"scored": [{"score": 0.25, "other_score": 0.75}, {"score": 0.75, "other_score": 0.25}]},
        [
            {"threshold": t, "other_threshold": o, "removed": n}
            for t, o, n in [
                *((0.0, 0.0, 0), (0.0, 0.5, 0), (0.0, 1.0, 0)),
                *((0.5, 0.0, 0), (0.5, 0.5, 0), (0.5, 1.0, 1)),
                *((1.0, 0.0, 0), (1.0, 0.5, 1), (1.0, 1.0, 2)),
            ]
        ],
        {**HALVES, "below": True, **{f"other_{k}": v for k, v in HALVES.items()}, "other_below": True, "either": False},
    ),
    Case(
        "rules/no_longer_listed",
        "scored images that are not held any more are counted, each by the row that counts",
        {
            "score_rows": [
                {"image_id": 1, "run_id": "r1"},
                {"image_id": 1, "run_id": "r2"},
                {"image_id": 2, "run_id": "r1"},
                {"image_id": 3, "run_id": "r1"},
            ],
            "superseded": [{"image_id": 1, "run_id": "r1"}],
        },
        [{"no_longer_listed": 2}],
        {"images": 1},
    ),
    Case(
        "views/covered",
        "a newer source may cover an older listing where it lies inside it or around it; itself and others it does not",
        {
            "listing_rows": [
                found("s3://b/a/1", "s3://b/", "r1"),
                found("s3://b/d/1", "s3://b/", "r1"),
                found("s3://b/c/1", "s3://b/c/", "r2"),
                found("s3://b/x/1", "s3://b/x/", "r0"),
                found("s3://elsewhere/1", "s3://elsewhere/", "r3"),
            ]
        },
        [
            {"source": "s3://b/", "run_id": "r1", "newer_source": "s3://b/c/"},
            {"source": "s3://b/x/", "run_id": "r0", "newer_source": "s3://b/"},
        ],
    ),
    Case(
        "views/covered",
        "what decides is where the objects lie, not what a source is called",
        {
            "listing_rows": [
                found("s3://b/a/1", "a list of addresses", "r1"),
                found("s3://b/c/1", "a list of addresses", "r1"),
                found("s3://b/b/1", "s3://b/b/", "r2"),
                found("s3://b/c/1", "s3://b/c/", "r3"),
                found("s3://b/d/1", "s3://b/d/", "r4"),
            ]
        },
        [
            {"source": "a list of addresses", "run_id": "r1", "newer_source": "s3://b/b/"},
            {"source": "a list of addresses", "run_id": "r1", "newer_source": "s3://b/c/"},
        ],
    ),
    Case("views/covered", "one listing covers nothing", {"listing_rows": [found("u", "s", "r1")]}, []),
    Case(
        "views/relisted",
        "what a newer list names is an older listing's no more; what a newer prefix holds is not the list's business",
        {
            "listing_rows": [
                found("s3://b/1", "s3://b/", "r1"),
                found("s3://b/2", "s3://b/", "r1"),
                found("s3://b/1", "file:///list.csv", "r2"),
                found("s3://b/3", "file:///list.csv", "r2"),
                found("s3://b/3", "file:///other.csv", "r3"),
                found("s3://b/3", "s3://b/", "r4"),
            ]
        },
        [
            {"source": "file:///list.csv", "run_id": "r2", "uri": "s3://b/3"},
            {"source": "s3://b/", "run_id": "r1", "uri": "s3://b/1"},
        ],
    ),
    Case("views/relisted", "one listing names nothing again", {"listing_rows": [found("u", "list", "r1")]}, []),
    Case("views/no_relisted", "there is nothing", {"listing_rows": [found("u", "s", "r1")]}, []),
    Case("views/no_covered", "there is nothing", {"listing_rows": [found("u", "s", "r1")]}, []),
    Case("views/no_superseded", "there is nothing", {"image_rows": outcomes((1, "r1", "embedded", 0))}, []),
]
