"""Every query in sql/, alone on a real DuckDB: the rows it is given, and the rows that it answers.

Given tables have the columns of the real ones; what a row does not name is null. `image_id: 1` is the UUID of 1.
"""

import re
import uuid
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import sql
from store.schema import LISTING, THUMBNAILS, images_schema, prompts_schema, scores_schema
from tests.sql_cases import VIEWS_AND_SCORES, Case, Row, outcomes
from tests.stores import NOON, listed

IMAGES = images_schema(2)
SCHEMAS = {
    **dict.fromkeys(["image_rows", "images", "current_images", "part"], IMAGES),
    **dict.fromkeys(["listing_rows", "current_objects"], LISTING),
    **dict.fromkeys(["score_rows", "scores"], scores_schema(["people"])),
    "thumbnail_rows": THUMBNAILS,
    "prompt_rows": prompts_schema(2),
    "superseded": pa.schema({"image_id": pa.uuid(), "run_id": pa.string()}),
    "scored": pa.schema({"score": pa.float32()}),
    "rules": pa.schema({"number": pa.int32(), "rule": pa.string()}),
    "matches": pa.schema({"image_id": pa.uuid(), "rule_number": pa.int32()}),
    "decisions": pa.schema(
        {
            "image_id": pa.uuid(),
            "uri": pa.string(),
            "rule_number": pa.int32(),
            "rule": pa.string(),
            "decision": pa.string(),
        }
    ),
}


def decided(image_id: int, decision: str, rule_number: int | None = None) -> Row:
    """A row of `decisions`."""
    rule = f"rule {rule_number}" if rule_number else None
    return {"image_id": image_id, "decision": decision, "rule_number": rule_number, "rule": rule}


SOUND_ID = {"image_id": listed("in/a.jpg").image_id.int, "uri": "s3://photos/in/a.jpg", "revision": "e1"}

MANIFEST: dict[str, list[Row]] = {
    "decisions": [decided(1, "remove", 1), decided(2, "remove", 2), decided(3, "keep"), decided(4, "error")],
    "current_images": [{"image_id": i, "uri": f"u{9 - i}", "key": f"k{i}"} for i in (1, 2, 3, 4)],
    "scores": [{"image_id": 1, "people": 0.5}],
}

CASES = [
    *VIEWS_AND_SCORES,
    Case(
        "rules/sweep",
        "equality removes, at both ends and between",
        {"scored": [{"score": s} for s in (0.0, 0.25, 0.5, 0.5, 0.74, 1.0)]},
        [
            {"threshold": 0.0, "removed": 6, "kept": 0, "removed_share": 1.0},
            {"threshold": 0.25, "removed": 5, "kept": 1, "removed_share": 0.833333},
            {"threshold": 0.5, "removed": 4, "kept": 2, "removed_share": 0.666667},
            {"threshold": 0.75, "removed": 1, "kept": 5, "removed_share": 0.166667},
            {"threshold": 1.0, "removed": 1, "kept": 5, "removed_share": 0.166667},
        ],
        {"steps": 4},
    ),
    Case(
        "rules/sweep",
        "where nothing is scored there is no share",
        {"scored": []},
        [{"threshold": t, "removed": 0, "kept": 0, "removed_share": None} for t in (0.0, 1.0)],
        {"steps": 1},
    ),
    Case(
        "rules/candidates",
        "a rule may ask about embedded images, with their scores where there are any",
        {
            "current_images": [
                {"image_id": 1, "uri": "u1", "status": "embedded", "width_px": 5},
                {"image_id": 2, "uri": "u2", "status": "embedded"},
                {"image_id": 3, "uri": "u3", "status": "failed"},
                {"image_id": 4, "uri": "u4", "status": "pending"},
            ],
            "scores": [{"image_id": 1, "uri": "u1", "people": 0.5}],
        },
        [
            {"image_id": 1, "uri": "u1", "width_px": 5, "people": 0.5},
            {"image_id": 2, "uri": "u2", "width_px": None, "people": None},
        ],
    ),
    Case(
        "rules/decisions",
        "what is not embedded is an error, what a rule holds for is removed by it, the rest is kept",
        {
            "current_images": [
                {"image_id": 1, "uri": "u1", "status": "embedded"},
                {"image_id": 2, "uri": "u2", "status": "embedded"},
                {"image_id": 3, "uri": "u3", "status": "failed"},
                {"image_id": 4, "uri": "u4", "status": "pending"},
                {"image_id": 5, "uri": "u5", "status": "not_an_image"},
            ],
            "matches": [{"image_id": 1, "rule_number": 2}, {"image_id": 2, "rule_number": None}],
            "rules": [{"number": 1, "rule": "a"}, {"number": 2, "rule": "b"}],
        },
        [
            {"image_id": 1, "uri": "u1", "rule_number": 2, "rule": "b", "decision": "remove"},
            {"image_id": 2, "uri": "u2", "rule_number": None, "rule": None, "decision": "keep"},
            {"image_id": 3, "uri": "u3", "rule_number": None, "rule": None, "decision": "error"},
            {"image_id": 4, "uri": "u4", "rule_number": None, "rule": None, "decision": "error"},
            {"image_id": 5, "uri": "u5", "rule_number": None, "rule": None, "decision": "error"},
        ],
    ),
    Case(
        "deliver/counts",
        "what was decided is counted beside what is listed",
        {
            "decisions": [decided(1, "remove", 1), decided(2, "keep"), decided(3, "error"), decided(4, "error")],
            "current_images": [{"status": "pending"}, {"status": "embedded"}],
            "current_objects": [{"uri": "u1"}, {"uri": "u2"}, {"uri": "u2"}],
        },
        [{"removed": 1, "kept": 1, "errors": 2, "pending": 1, "listed": 3, "distinct_uris": 2}],
    ),
    Case(
        "deliver/rule_counts",
        "every rule is there, in its order, with what it was the first to remove",
        {
            "rules": [{"number": 2, "rule": "rule 2"}, {"number": 1, "rule": "rule 1"}],
            "decisions": [decided(1, "remove", 1), decided(2, "remove", 1), decided(3, "keep")],
        },
        [{"number": 1, "rule": "rule 1", "removed": 2}, {"number": 2, "rule": "rule 2", "removed": 0}],
    ),
    Case(
        "deliver/images",
        "what is removed, by URI, with its scores and the rule",
        MANIFEST,
        [
            {"uri": "u7", "key": "k2", "people": None, "rule": "rule 2"},
            {"uri": "u8", "key": "k1", "people": 0.5, "rule": "rule 1"},
        ],
        {"decision": "remove"},
    ),
    Case(
        "deliver/images",
        "what is kept has no rule",
        MANIFEST,
        [{"uri": "u6", "key": "k3", "people": None, "rule": None}],
        {"decision": "keep"},
    ),
    Case(
        "deliver/errors",
        "what could not be decided, by URI, with its reason",
        {
            "decisions": [decided(1, "error"), decided(2, "error"), decided(3, "error"), decided(4, "keep")],
            "current_images": [
                {"image_id": 1, "uri": "u3", "status": "failed", "error_code": "empty", "error_detail": "0 bytes"},
                {"image_id": 2, "uri": "u2", "status": "pending"},
                {"image_id": 3, "uri": "u1", "status": "not_an_image"},
                {"image_id": 4, "uri": "u4", "status": "embedded"},
            ],
        },
        [
            {"uri": "u1", "status": "not_an_image", "error_code": None, "error_detail": None},
            {"uri": "u2", "status": "pending", "error_code": "not_read_yet", "error_detail": None},
            {"uri": "u3", "status": "failed", "error_code": "empty", "error_detail": "0 bytes"},
        ],
    ),
    Case(
        "status/sources",
        "each source with what became of what it holds",
        {
            "current_images": [
                {"source": "b", "status": "embedded", "size_bytes": 2**62},
                {"source": "a", "status": "embedded", "size_bytes": 1},
                {"source": "a", "status": "failed", "size_bytes": 2},
                {"source": "a", "status": "not_an_image", "size_bytes": 4},
                {"source": "a", "status": "pending", "size_bytes": 8},
            ]
        },
        [
            {
                "source": "a",
                "objects": 4,
                "embedded": 1,
                "failed": 1,
                "not_an_image": 1,
                "pending": 1,
                "size_bytes": 15,
            },
            {
                "source": "b",
                "objects": 1,
                "embedded": 1,
                "failed": 0,
                "not_an_image": 0,
                "pending": 0,
                "size_bytes": 2**62,
            },
        ],
    ),
    Case(
        "status/errors",
        "the most frequent reason comes first, each with an example",
        {
            "current_images": [
                {"uri": "u1", "status": "failed", "error_code": "empty"},
                {"uri": "u4", "status": "failed", "error_code": "truncated"},
                {"uri": "u3", "status": "failed", "error_code": "truncated"},
                {"uri": "u5", "status": "failed", "error_code": "corrupt"},
                {"uri": "u6", "status": "embedded"},
            ]
        },
        [
            {"error_code": "truncated", "images": 2, "example": "u3"},
            {"error_code": "corrupt", "images": 1, "example": "u5"},
            {"error_code": "empty", "images": 1, "example": "u1"},
        ],
    ),
    Case(
        "status/runs",
        "the runs in their order, with every row that they wrote",
        {"image_rows": outcomes((1, "r2", "failed", 5), (1, "r1", "failed", 1), (2, "r1", "embedded", 3))},
        [
            {"run_id": "r1", "images": 2, "first_at": NOON.replace(minute=1), "last_at": NOON.replace(minute=3)},
            {"run_id": "r2", "images": 1, "first_at": NOON.replace(minute=5), "last_at": NOON.replace(minute=5)},
        ],
    ),
    Case(
        "status/recorded",
        "images that the sources no longer hold are counted among all",
        {"images": [{"image_id": 1}, {"image_id": 2}, {"image_id": 3}], "current_objects": [{"image_id": 2}]},
        [{"recorded": 3, "no_longer_listed": 2}],
    ),
    Case(
        "checks/one_outcome", "an image that counts once is sound", {"images": [{"image_id": 1}, {"image_id": 2}]}, []
    ),
    Case(
        "checks/one_outcome",
        "an image that counts twice is found",
        {"images": [{"image_id": 1}, {"image_id": 2}, {"image_id": 2}]},
        [{"image_id": 2, "counted": 2}],
    ),
    Case(
        "checks/outcome_has_its_reason",
        "each outcome with what belongs to it is sound",
        {
            "images": [
                {"uri": "a", "status": "embedded", "embedding": [0.6, 0.8]},
                {"uri": "b", "status": "failed", "error_code": "empty"},
                {"uri": "c", "status": "not_an_image"},
            ]
        },
        [],
    ),
    Case(
        "checks/outcome_has_its_reason",
        "a missing or needless embedding or reason is found, and so is a status that there is not",
        {
            "images": [
                {"uri": "a", "status": "embedded"},
                {"uri": "b", "status": "failed"},
                {"uri": "c", "status": "not_an_image", "embedding": [0.6, 0.8]},
                {"uri": "d", "status": "embedded", "embedding": [0.6, 0.8], "error_code": "empty"},
                {"uri": "e", "status": "done"},
            ]
        },
        [{"uri": uri} for uri in "abcde"],
    ),
    Case(
        "checks/id_is_of_uri_and_revision",
        "an id that is made of URI and revision is sound",
        {"images": [SOUND_ID], "current_objects": [SOUND_ID]},
        [],
    ),
    Case(
        "checks/id_is_of_uri_and_revision",
        "an id of something else is found in parts and in listings",
        {
            "images": [{**SOUND_ID, "revision": "e2"}],
            "current_objects": [{**SOUND_ID, "uri": "s3://photos/in/b.jpg"}],
        },
        [{"uri": "s3://photos/in/a.jpg"}, {"uri": "s3://photos/in/b.jpg"}],
    ),
    Case(
        "checks/scores_have_images",
        "a score of an embedded image is sound",
        {"images": [{"image_id": 1, "status": "embedded"}], "scores": [{"image_id": 1}]},
        [],
    ),
    Case(
        "checks/scores_have_images",
        "a score without an image, or of one that failed, is found",
        {"images": [{"image_id": 1, "status": "failed"}], "scores": [{"image_id": 1}, {"image_id": 2}]},
        [{"image_id": 1}, {"image_id": 2}],
    ),
]

ORDERED = {"rules/sweep", *(name for folder in ("deliver", "status") for name in sql.names(folder))}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in UTC, as the session opens it."""
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'")
        opened.execute("set arrow_lossless_conversion = true")
        yield opened


def answer(connection: duckdb.DuckDBPyConnection, case: Case) -> list[dict[str, Any]]:
    """What the query answers over the given tables; for one that creates something, what this holds."""
    for name, rows in case.given.items():
        fields = [f.with_nullable(nullable=True) for f in SCHEMAS[name]]
        lists = [pa.field(f.name, pa.list_(pa.float32())) if pa.types.is_nested(f.type) else f for f in fields]
        connection.from_arrow(pa.schema(lists).empty_table()).create(name)
        for row in rows:
            values = {**row, **({"image_id": uuid.UUID(int=row["image_id"])} if "image_id" in row else {})}
            columns, marks = ", ".join(values), ", ".join(f"${column}" for column in values)
            connection.execute(f"insert into {name} ({columns}) values ({marks})", values)  # noqa: S608
    text, parameters = sql.load(case.query), dict(case.parameters)
    if created := re.search(r"^create (?:or replace )?(?:temp )?(?:view|table) (\w+) as", text, re.MULTILINE):
        connection.execute(text, parameters)
        relation = connection.table(created[1])
    else:
        relation = connection.sql(text, params=parameters)
    rows = relation.to_arrow_table().to_pylist()
    return [{key: v.int if isinstance(v, uuid.UUID) else v for key, v in row.items()} for row in rows]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.query}: {case.proves}")
def test_query(connection: duckdb.DuckDBPyConnection, case: Case) -> None:
    """The query answers the expected rows, in their order where it has one."""
    rows = answer(connection, case)
    if case.expect:
        rows = [{key: row[key] for key in case.expect[0]} for row in rows]
    if case.query not in ORDERED:
        rows.sort(key=repr)
    assert rows == case.expect


def test_every_query_has_a_test() -> None:
    """A .sql file that this module's table does not name fails here."""
    every = {
        f"{folder.name}/{file.name.removesuffix('.sql')}"
        for folder in files("sql").iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    }
    assert {case.query for case in CASES} == every


@pytest.mark.parametrize("name", sorted({case.query for case in CASES}))
def test_every_query_says_its_grain(name: str) -> None:
    """A query opens with a comment that states its grain and its parameters, and names every parameter that it has."""
    text = sql.load(name)
    header = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    assert text.startswith("-- ")
    assert "Grain: one row" in header
    assert "Parameters: " in header
    assert len(text.splitlines()) < 80
    body = "\n".join(line for line in text.splitlines() if not line.strip().startswith("--"))
    asked = {word.strip("(),:") for word in body.replace("::", " ").split() if word.startswith("$")}
    assert all(parameter in header for parameter in asked)
