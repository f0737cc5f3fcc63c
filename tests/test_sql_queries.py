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
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

import sql
from store.schema import LIST_METADATA, LISTING, MEASUREMENTS, THUMBNAILS, images_schema, prompts_schema, scores_schema
from tests.sql_cases import VIEWS_AND_SCORES, Case, outcomes
from tests.sql_cases_apply import APPLY, APPLY_SCHEMAS, ORDERED_APPLY
from tests.sql_cases_asking import ASKING, ASKING_SCHEMAS
from tests.sql_cases_confirm import CONFIRM
from tests.sql_cases_deliver import DELIVER_SCHEMAS, DELIVERS, ORDERED_DELIVERS, presign
from tests.sql_cases_duplicates import DUPLICATE_SCHEMAS, DUPLICATES, ORDERED_DUPLICATES
from tests.sql_cases_import import IMPORTS
from tests.sql_cases_rules import ORDERED_RULES as ORDERED_POLICIES
from tests.sql_cases_rules import RULE_SCHEMAS, RULES_AND_MANIFESTS
from tests.sql_cases_sweep import SWEEP_SCHEMAS, SWEEPS
from tests.stores import NOON, listed

IMAGES = images_schema(2)
SCHEMAS = {
    **dict.fromkeys(["image_rows", "images", "part"], IMAGES),
    **dict.fromkeys(["listing_rows", "current_objects"], LISTING),
    "score_rows": scores_schema(["people"]),
    **APPLY_SCHEMAS,
    **ASKING_SCHEMAS,
    **dict.fromkeys(["measurement_rows", "measurements"], MEASUREMENTS),
    "measured": pa.schema({"image_id": pa.uuid(), "owlv2_person": pa.float32()}),
    "metadata_rows": pa.schema([*LIST_METADATA, pa.field("caption", pa.string()), pa.field("stars", pa.int64())]),
    "list_columns": pa.schema({"image_id": pa.uuid(), "list_caption": pa.string()}),
    "one_score": pa.schema({"image_id": pa.uuid(), "score": pa.float32()}),
    "thumbnail_rows": THUMBNAILS,
    "prompt_rows": prompts_schema(2),
    "superseded": pa.schema({"image_id": pa.uuid(), "run_id": pa.string()}),
    **DUPLICATE_SCHEMAS,
    **DELIVER_SCHEMAS,
    **SWEEP_SCHEMAS,
    **RULE_SCHEMAS,
}

SOUND_ID = {"image_id": listed("in/a.jpg").image_id.int, "uri": "s3://photos/in/a.jpg", "revision": "e1"}

CASES = [
    *VIEWS_AND_SCORES,
    *APPLY,
    *ASKING,
    *CONFIRM,
    *DELIVERS,
    *DUPLICATES,
    *IMPORTS,
    *SWEEPS,
    *RULES_AND_MANIFESTS,
    Case(
        "rules/candidates",
        "a rule may ask about embedded images, with their scores, what was seen and what a list says, where it does",
        {
            "current_images": [
                {"image_id": 1, "uri": "u1", "status": "embedded", "width_px": 5},
                {"image_id": 2, "uri": "u2", "status": "embedded"},
                {"image_id": 3, "uri": "u3", "status": "failed"},
                {"image_id": 4, "uri": "u4", "status": "pending"},
            ],
            "scores": [{"image_id": 1, "uri": "u1", "people": 0.5}],
            "measured": [{"image_id": 2, "owlv2_person": 0.25}],
            "list_columns": [{"image_id": 1, "list_caption": "a"}, {"image_id": 3, "list_caption": "c"}],
        },
        [
            {"image_id": 1, "uri": "u1", "width_px": 5, "people": 0.5, "owlv2_person": None, "list_caption": "a"},
            {
                "image_id": 2,
                "uri": "u2",
                "width_px": None,
                "people": None,
                "owlv2_person": 0.25,
                "list_caption": None,
            },
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

ORDERED_FOLDERS = ("asking", "cookbook", "deliver", "macros", "status")
ORDERED_RULES = {"rules/band", "rules/sweep_grid", "rules/sweep_groups"}
ORDERED = {*ORDERED_APPLY, *ORDERED_DELIVERS, *ORDERED_DUPLICATES, *ORDERED_RULES, *ORDERED_POLICIES}
ORDERED |= {name for folder in ORDERED_FOLDERS for name in sql.names(folder)}


@pytest.fixture(scope="module")
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB in UTC, as the session opens it: opening it takes longer than a query."""
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'")
        opened.execute("set arrow_lossless_conversion = true")
        opened.create_function("presign", presign, [VARCHAR, VARCHAR], VARCHAR, type=PythonUDFType.ARROW)
        yield opened


@pytest.fixture
def connection(_database: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same with an empty database, which goes with all that a test creates."""
    _database.execute("attach ':memory:' as case_db")
    _database.execute("use case_db")
    yield _database
    _database.execute("use memory")
    _database.execute("detach case_db")
    temporary = "select table_name, 'table' from duckdb_tables() where temporary union all "
    temporary += "select view_name, 'view' from duckdb_views() where temporary and not internal"
    for name, kind in _database.execute(temporary).fetchall():
        _database.execute(f"drop {kind} temp.{name}")


def answer(connection: duckdb.DuckDBPyConnection, case: Case) -> list[dict[str, Any]]:
    """What the query answers over the given tables; for one that creates something, what this holds."""
    for name, rows in case.given.items():
        fields = [f.with_nullable(nullable=True) for f in SCHEMAS[name]]
        lists = [pa.field(f.name, pa.list_(pa.float32())) if pa.types.is_fixed_size_list(f.type) else f for f in fields]
        connection.from_arrow(pa.schema(lists).empty_table()).create(name)
        for row in rows:
            values = {**row, **({"image_id": uuid.UUID(int=row["image_id"])} if "image_id" in row else {})}
            columns, marks = ", ".join(values), ", ".join(f"${column}" for column in values)
            connection.execute(f"insert into {name} ({columns}) values ({marks})", values)  # noqa: S608
    text, parameters = sql.load(case.query), dict(case.parameters)
    for macro in sql.names("macros"):
        if f"{macro.rpartition('/')[2]}(" in text:
            connection.execute(sql.load(macro))
    if case.ask:
        relation = connection.sql(case.ask)
    elif created := re.search(r"^create (?:or replace )?(?:temp )?(?:view|table) (\w+) as", text, re.MULTILINE):
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
