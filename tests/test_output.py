"""Answers as tables for people and as CSV, JSON and Parquet for machines: nothing is lost on the way."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import clipsieve
from query.output import cell, megabytes
from query.session import Session
from tests.commands import parsed, typed
from tests.stores import HashTower, add_part, ask, embedded, listed, stepped_store


@pytest.fixture(autouse=True)
def _place(_stepped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that holds `store`, in which the user stands: twelve images that score 0, 1/12, 2/12, … as people."""
    shutil.copytree(_stepped, tmp_path / "store")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def _stepped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a store, to be copied."""
    folder = tmp_path_factory.mktemp("output") / "store"
    stepped_store(folder)
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store with scores of `mask`, and so with prompts."""
    with closing(ask(stepped_store(tmp_path_factory.mktemp("output") / "store"), HashTower())) as session:
        session.score("mask")
        yield session


@pytest.fixture(autouse=True)
def _tower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text tower is at hand."""
    monkeypatch.setattr(clipsieve, "_text_tower", lambda _held, _words: HashTower())


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_machines_read_every_value(kind: str) -> None:
    """Text, numbers, nulls and ids come back from each format; odd text too."""
    query = """select * from (values (1, 0.5::float, 'a,"b"\n日本', null, image_id('a')), (2, 1, '', 'x', null))
        as t (whole, share, text, missing, id) order by whole"""
    query = query.replace("image_id('a')", "'00000000-0000-0000-0000-00000000002a'::uuid")
    first, second = parsed(typed("sql", "store", query, "--format", kind), kind)
    assert int(first["whole"]) == 1
    assert float(first["share"]) == 0.5
    assert first["text"] == 'a,"b"\n日本'
    assert first["missing"] in {None, ""}
    assert uuid.UUID(str(first["id"])).int == 42
    assert second["missing"] == "x"


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
@pytest.mark.parametrize("view", ["images", "current_images", "current_objects", "scores", "thumbnails", "prompts"])
def test_every_view_in_every_format(scored: Session, view: str, kind: str) -> None:
    """Every documented view can be had whole in every format, vectors, times and pictures included."""
    expected = scored.sql(f"select count(*) as n from {view}")["n"].to_pylist()  # noqa: S608
    place = Path(scored.store.location.uri).parent
    rows = parsed(typed("sql", str(place), f"from {view}", "--format", kind), kind)
    assert [len(rows)] == expected != [0]


def test_lists_in_csv_are_json() -> None:
    """What CSV has no form for stands there as JSON."""
    query = "select [1.5, 2] as l, {'a': 1} as s, 'x'::blob as b, 2.50 as d"
    (row,) = parsed(typed("sql", "store", query, "--format", "csv"), "csv")
    assert (json.loads(row["l"]), json.loads(row["s"]), row["b"], row["d"]) == ([1.5, 2], {"a": 1}, "78", "2.50")


def test_numbers_in_json_are_numbers() -> None:
    """Decimals and sums of any size are JSON numbers, ids and times are text."""
    query = "select 2.5 as d, sum(size_bytes) as s, (2::hugeint << 100) as h, max(last_modified) as t from images"
    (row,) = parsed(typed("sql", "store", query, "--format", "json"), "json")
    assert row == {"d": 2.5, "s": 13_007, "h": 2 << 100, "t": "2026-01-01 12:00:00+00:00"}


def test_the_table_for_people() -> None:
    """A table is cut nowhere when it is piped; the number of rows stands on stderr, out of the way."""
    result = typed("sql", "store", "select uri, width_px from images order by uri limit 2")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["uri", "width_px"],
        ["s3://photos/in/00.jpg", "640"],
        ["s3://photos/in/01.jpg", "640"],
    ]
    assert result.stderr.strip() == "2 rows"
    assert len(typed("sql", "store", f"select '{'x' * 3000}' as long").stdout.split()[1]) == 3000


def test_square_brackets_are_text() -> None:
    """Values that look like markup are shown as they are."""
    assert "[bold]a[/bold] [red" in typed("sql", "store", "select '[bold]a[/bold] [red' as x").stdout


@pytest.mark.parametrize("words", [("sql", "store"), ("sql", "store", "-")])
def test_a_query_from_stdin(words: tuple[str, ...]) -> None:
    """Without QUERY, or with -, the query is read from stdin."""
    assert typed(*words, stdin="select 42 as answer").stdout.split() == ["answer", "42"]


def test_columns_of_one_name_are_all_shown() -> None:
    """`select a.*, b.*` loses no column."""
    (row,) = parsed(typed("sql", "store", "select 1 as a, 2 as a", "--format", "json"), "json")
    assert row == {"a": 1, "a_1": 2}


def test_missing_scores_are_noted() -> None:
    """Where images were embedded since the scores, a note on stderr says so."""
    add_part(clipsieve.open("store").store, [embedded(listed("in/late.jpg"))], number=2)
    result = typed("sql", "store", "select count(*) as n from scores", "--format", "csv")
    assert parsed(result, "csv") == [{"n": "12"}]
    assert "lacks 1 parts; run `clipsieve score STORE`" in result.stderr


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "true"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (b"abc", "<3 bytes>"),
        ([1, 2], "[1, 2]"),
        ([0.5] * 9, "[0.5000, 0.5000, 0.5000, 0.5000, … 9 in all]"),
    ],
)
def test_a_value_as_a_person_reads_it(value: object, shown: str) -> None:
    """Numbers have separators, vectors and pictures are shortened."""
    assert cell(value) == shown


def test_sizes() -> None:
    """Sizes are megabytes, from a thousand of them on gigabytes."""
    assert [megabytes(size) for size in (0, 12_340_000, 4_500_000_000)] == ["0.0 MB", "12.3 MB", "4.5 GB"]
