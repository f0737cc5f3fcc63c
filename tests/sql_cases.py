"""What the views of sql/ and the query of scores answer: given tables and expected rows; see test_sql_queries.py.

What a given row does not name is null. `image_id: 1` is the UUID of 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.stores import NOON

Row = Mapping[str, Any]

LN_2, LN_3 = 0.6931471805599453, 1.0986122886681098


@dataclass(frozen=True)
class Case:
    """One query, the sentence that its rows prove, the tables it reads, and its answer: some columns of every row."""

    query: str
    proves: str
    given: Mapping[str, Sequence[Row]]
    expect: Sequence[Row]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ask: str = ""  # of a macro: the query that calls it


def outcomes(*rows: tuple[int, str, str, int]) -> list[Row]:
    """Image rows of (image_id, run_id, status, minutes after noon)."""
    return [
        {"image_id": i, "run_id": run, "status": status, "embedded_at": NOON.replace(minute=minute)}
        for i, run, status, minute in rows
    ]


def found(uri: str, source: str, run: str, image_id: int = 1) -> Row:
    """A listing row."""
    return {"image_id": image_id, "uri": uri, "source": source, "run_id": run}


VIEWS_AND_SCORES = [
    Case(
        "views/runs",
        "runs are counted, not rows",
        {"image_rows": outcomes((1, "r1", "embedded", 0), (2, "r1", "failed", 0), (3, "r2", "embedded", 0))},
        [{"runs": 2}],
    ),
    Case(
        "views/superseded",
        "a row that is alone counts, whatever became of it",
        {"image_rows": outcomes((1, "r1", "embedded", 0), (2, "r1", "failed", 0), (3, "r2", "not_an_image", 0))},
        [],
    ),
    Case(
        "views/superseded",
        "a success replaces failures, be it older or later; else the later row counts, at one time the later run",
        {
            "image_rows": outcomes(
                *((1, "r1", "failed", 0), (1, "r2", "embedded", 1)),
                *((2, "r1", "embedded", 0), (2, "r2", "failed", 1)),
                *((3, "r1", "failed", 1), (3, "r2", "failed", 0)),
                *((4, "r1", "embedded", 0), (4, "r2", "embedded", 0), (4, "r3", "failed", 2)),
            )
        },
        [
            {"image_id": 1, "run_id": "r1"},
            {"image_id": 2, "run_id": "r2"},
            {"image_id": 3, "run_id": "r2"},
            {"image_id": 4, "run_id": "r1"},
            {"image_id": 4, "run_id": "r3"},
        ],
    ),
    Case(
        "views/superseded",
        "an image twice in one run is not hidden",
        {"image_rows": outcomes((1, "r1", "embedded", 0), (1, "r1", "embedded", 0))},
        [],
    ),
    Case(
        "views/images",
        "every image has the row that counts",
        {
            "image_rows": outcomes((1, "r1", "failed", 0), (1, "r2", "embedded", 1), (2, "r1", "failed", 0)),
            "superseded": [{"image_id": 1, "run_id": "r1"}],
        },
        [{"image_id": 1, "status": "embedded"}, {"image_id": 2, "status": "failed"}],
    ),
    Case(
        "views/current_objects",
        "an older listing's objects are there where no newer source covers them",
        {
            "listing_rows": [
                found("s3://b/a/gone", "s3://b/", "r1"),
                found("s3://b/a/stays", "s3://b/", "r1"),
                found("s3://b/c", "s3://b/", "r1"),
                found("s3://b/a/stays", "s3://b/a/", "r2"),
            ],
            "covered": [{"source": "s3://b/", "run_id": "r1", "newer_source": "s3://b/a/"}],
            "relisted": [],
        },
        [
            {"uri": "s3://b/a/stays", "source": "s3://b/a/"},
            {"uri": "s3://b/c", "source": "s3://b/"},
        ],
    ),
    Case(
        "views/current_objects",
        "a wider listing replaces an older, narrower one, of which nothing is left",
        {
            "listing_rows": [found("s3://b/a/1", "s3://b/a/", "r1"), found("s3://b/a/2", "s3://b/", "r2")],
            "covered": [{"source": "s3://b/a/", "run_id": "r1", "newer_source": "s3://b/"}],
            "relisted": [],
        },
        [{"uri": "s3://b/a/2"}],
    ),
    Case(
        "views/current_objects",
        "where nothing is covered, everything is there",
        {
            "listing_rows": [found("s3://b/a/1", "s3://b/a/", "r1"), found("s3://b/ab/2", "s3://b/ab/", "r2")],
            "covered": [],
            "relisted": [],
        },
        [{"uri": "s3://b/a/1"}, {"uri": "s3://b/ab/2"}],
    ),
    Case(
        "views/current_objects",
        "an object that a newer list names is there once, as the list says",
        {
            "listing_rows": [
                found("s3://b/1", "s3://b/", "r1"),
                found("s3://b/2", "s3://b/", "r1"),
                found("s3://b/1", "list.csv", "r2"),
            ],
            "covered": [],
            "relisted": [{"source": "s3://b/", "run_id": "r1", "uri": "s3://b/1"}],
        },
        [{"uri": "s3://b/1", "source": "list.csv"}, {"uri": "s3://b/2", "source": "s3://b/"}],
    ),
    Case(
        "views/current_images",
        "every listed object is there once, pending where no run has read it; what is no longer listed is not",
        {
            "current_objects": [
                {"image_id": 1, "uri": "u1", "key": "now"},
                {"image_id": 2, "uri": "u2"},
                {"image_id": 3, "uri": "u3"},
            ],
            "images": [
                {"image_id": 1, "status": "embedded", "key": "then", "width_px": 5, "embedding": [0.6, 0.8]},
                {"image_id": 2, "status": "failed", "error_code": "empty"},
                {"image_id": 9, "status": "embedded"},
            ],
        },
        [
            {"uri": "u1", "status": "embedded", "key": "now", "width_px": 5, "error_code": None},
            {"uri": "u2", "status": "failed", "key": None, "width_px": None, "error_code": "empty"},
            {"uri": "u3", "status": "pending", "key": None, "width_px": None, "error_code": None},
        ],
    ),
    Case(
        "views/scores",
        "scores are those of images that are listed, each by the row that counts",
        {
            "score_rows": [
                {"image_id": 1, "run_id": "r1", "people": 0.25},
                {"image_id": 1, "run_id": "r2", "people": 0.5},
                {"image_id": 2, "run_id": "r1", "people": 0.75},
            ],
            "current_objects": [{"image_id": 1}],
            "superseded": [{"image_id": 1, "run_id": "r1"}],
        },
        [{"image_id": 1, "people": 0.5}],
    ),
    Case(
        "views/thumbnails",
        "a picture counts with the row that it was made for",
        {
            "thumbnail_rows": [
                {"image_id": 1, "run_id": "r1", "webp": b"old"},
                {"image_id": 1, "run_id": "r2", "webp": b"new"},
                {"image_id": 2, "run_id": "r1", "webp": b"killed before its image was recorded"},
            ],
            "images": outcomes((1, "r2", "embedded", 0)),
        },
        [{"image_id": 1, "webp": b"new"}],
    ),
    Case(
        "views/prompts",
        "a text that two jobs have cached is there once",
        {
            "prompt_rows": [
                {"text": "a", "vector": [0.0, 1.0]},
                {"text": "a", "vector": [0.0, 1.0]},
                {"text": "b", "vector": [1.0, 0.0]},
            ]
        },
        [{"text": "a", "vector": [0.0, 1.0]}, {"text": "b", "vector": [1.0, 0.0]}],
    ),
    Case(
        "scoring/score_part",
        "a score is the link of the products with a readout's vectors; without an embedding there is none",
        {
            "part": [
                {"image_id": 1, "uri": "u1", "run_id": "r1", "status": "embedded", "embedding": [1.0, 0.0]},
                {"image_id": 2, "uri": "u2", "run_id": "r1", "status": "embedded", "embedding": [0.0, 1.0]},
                {"image_id": 3, "uri": "u3", "run_id": "r1", "status": "failed"},
            ]
        },
        [
            {"image_id": 1, "run_id": "r1", "uri": "u1", "scores": [0.5, 1.0, 1.5, 0.75]},
            {"image_id": 2, "run_id": "r1", "uri": "u2", "scores": [0.75, 0.0, -1.5, 0.5]},
        ],
        {
            "vectors": [[[0.0, LN_3]], [[2000.0, -2000.0]], [[1.0, -2.0]], [[LN_2, 0.0], [0.0, 0.0], [0.0, LN_2]]],
            "links": ["sigmoid", "sigmoid", "identity", "softmax"],
            "biases": [0.0, 0.0, 0.5, 0.0],
            "positives": [1, 1, 1, 2],
        },
    ),
    Case(
        "scoring/score_part",
        "a bias moves a sigmoid, and large products of a softmax do no harm",
        {"part": [{"image_id": 1, "status": "embedded", "embedding": [1.0, 0.0]}]},
        [{"image_id": 1, "scores": [0.75, 0.25]}],
        {
            "vectors": [[[0.0, 1.0]], [[5000.0, 0.0], [5000.0, 0.0], [5000.0, 0.0], [5000.0, 0.0]]],
            "links": ["sigmoid", "softmax"],
            "biases": [LN_3, 0.0],
            "positives": [1, 1],
        },
    ),
    Case(
        "scoring/score_part",
        "without readouts there are rows without scores",
        {"part": [{"image_id": 1, "status": "embedded", "embedding": [1.0, 0.0]}]},
        [{"image_id": 1, "scores": []}],
        {"vectors": [], "links": [], "biases": [], "positives": []},
    ),
    Case(
        "scoring/distribution",
        "quantiles are scores that occur, and equality is at or above the threshold; what is not asked is left out",
        {
            "score_values": [
                *({"concept": "people", "score": k / 16} for k in range(1, 17)),
                {"concept": "aesthetic", "score": 4.5},
                {"concept": "mask", "score": 0.5},
            ]
        },
        [
            {
                "concept": "aesthetic",
                "lowest": 4.5,
                "p05": 4.5,
                "p50": 4.5,
                "p95": 4.5,
                "highest": 4.5,
                "mean": 4.5,
                "at_or_above": 0.0,
            },
            {
                "concept": "people",
                "lowest": 0.0625,
                "p05": 0.0625,
                "p50": 0.5,
                "p95": 1.0,
                "highest": 1.0,
                "mean": 0.53125,
                "at_or_above": 0.3125,
            },
        ],
        {"concepts": ["people", "aesthetic"], "thresholds": [0.75, 5.0]},
    ),
    Case(
        "scoring/distribution",
        "where nothing is asked, there is nothing",
        {"score_values": [{"concept": "people", "score": 0.5}]},
        [],
        {"concepts": [], "thresholds": []},
    ),
]
