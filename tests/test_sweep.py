"""Sweeps: every threshold counts what a rule at that threshold removes; by group, of two concepts, in any range."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from html import unescape
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.rules.sweep import GRID_STEPS, STEPS, Axis, SweepWords
from query.rules.thresholds import sweep_sorted
from query.scoring.kinds import Concept, Ensemble, Head, Prompt
from query.session import Session
from sql import load
from store.errors import MissingExtra, NotScored, UnknownName, UsageError
from store.layout import EncoderStore
from tests.commands import one_line, parsed, typed
from tests.stores import (
    add_part,
    ask,
    embedded,
    list_source,
    listed,
    new_store,
    put_scores,
    stepped_store,
)

Scores = npt.NDArray[np.float32]

RANGES = [(0.0, 1.0), (-1.0, 1.0), (1.0, 10.0), (0.1, 0.35), (-3.0, 12.5)]


def head(name: str, low: float = 1.0, high: float = 10.0, unit: str = "rating", threshold: float = 5.0) -> Head:
    """A concept with a range and a unit of its own."""
    return Head(name, "0" * 64, (2, 1), link="identity", unit=unit, range=(low, high), threshold=threshold)


AESTHETIC = head("aesthetic")


@st.composite
def swept(draw: st.DrawFn) -> tuple[Axis, list[float]]:
    """An axis, and scores in its range, on its thresholds, next to them, and outside."""
    low, high = draw(st.sampled_from(RANGES))
    steps = draw(st.sampled_from([1, 2, 3, 7, 10, 64, 90, 100, 1000]))
    axis = Axis.of(head("x", low, high), SweepWords(steps, below=draw(st.booleans())), steps)
    on = np.array(decimals(axis), np.float32)
    near = st.sampled_from([*on, *np.nextafter(on, np.float32(-99)), *np.nextafter(on, np.float32(99))])
    score = st.one_of(near.map(float), st.floats(-20, 20, width=32))
    return axis, draw(st.lists(score, min_size=1, max_size=30))


def decimals(axis: Axis) -> list[float]:
    """The thresholds as one would write them, correct to the last digit."""
    low, high = (Fraction(str(end)) for end in axis.concept.range)
    return [float(low + (high - low) * i / axis.steps) for i in range(axis.steps + 1)]


def holds(scores: Scores, threshold: float, *, below: bool) -> npt.NDArray[np.bool_]:
    """Whether a rule with this threshold removes each score, in FLOAT as DuckDB compares."""
    return scores < np.float32(threshold) if below else scores >= np.float32(threshold)


def answer(
    database: duckdb.DuckDBPyConnection, query: str, columns: dict[str, Sequence[Any]], parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    """What a sweep's query answers over a view `scored` of these columns."""
    kinds = {name: pa.string() if name == "group_name" else pa.float32() for name in columns}
    arrays = {name: pa.array(values, kinds[name]) for name, values in columns.items()}
    database.from_arrow(pa.table(arrays)).create_view("scored", replace=True)
    found: list[dict[str, Any]] = database.sql(load(query), params=parameters).to_arrow_table().to_pylist()
    return found


def counted(scores: Sequence[float], thresholds: Sequence[float] | Scores, *, below: bool) -> list[dict[str, Any]]:
    """What a sweep of one concept answers."""
    table = sweep_sorted(np.sort(np.array(scores, np.float32)), np.array(thresholds, np.float32), below=below)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


@pytest.mark.parametrize(
    ("scores", "thresholds", "below", "removed", "share"),
    [
        ([0.0, 0.25, 0.5, 0.5, 0.74, 1.0], [0, 0.25, 0.5, 0.75, 1], False, [6, 5, 4, 1, 1], 0.833333),
        ([-3.0, 1.0, 5.25, 5.5, 10.0, 12.0], [1, 5.5, 10], True, [1, 3, 4], 0.5),
        ([], [0, 0.5, 1], False, [0, 0, 0], None),
        ([float("nan"), float("inf"), float("-inf"), 0.75], [0, 0.5, 1], False, [3, 3, 2], 0.75),
    ],
    ids=["equality removes", "below, the others go", "nothing is scored", "no number lies above all"],
)
def test_a_threshold_counts_as_a_rule_compares(
    scores: list[float],
    thresholds: list[float],
    below: bool,  # noqa: FBT001  # pytest passes it by name
    removed: list[int],
    share: float | None,
) -> None:
    """Equality is on the side of `>=`; scores beyond the range count; of nothing there is no share."""
    rows = counted(scores, thresholds, below=below)
    assert [row["removed"] for row in rows] == removed
    assert {row["removed"] + row["kept"] for row in rows} == {len(scores)}
    assert rows[1]["removed_share"] == share


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples."""
    with duckdb.connect() as connection:
        yield connection


@given(swept())
@settings(max_examples=80)
def test_a_sweep_is_a_count_at_every_threshold(given_scores: tuple[Axis, list[float]]) -> None:
    """In any range and on either side, each threshold is the FLOAT of its decimal and counts what float32 compares."""
    axis, values = given_scores
    scores = np.array(values, np.float32)
    steps = counted(values, axis.thresholds, below=axis.below)
    assert [step["threshold"] for step in steps] == [float(np.float32(t)) for t in decimals(axis)]
    assert [step["removed"] for step in steps] == [holds(scores, t, below=axis.below).sum() for t in decimals(axis)]
    assert {step["removed"] + step["kept"] for step in steps} == {len(values)}


@given(swept(), swept(), st.booleans())
@settings(max_examples=25)
def test_a_grid_is_a_count_at_every_pair(
    database: duckdb.DuckDBPyConnection,
    one: tuple[Axis, list[float]],
    other: tuple[Axis, list[float]],
    either: bool,  # noqa: FBT001  # hypothesis passes it by name
) -> None:
    """Each pair of thresholds counts what a rule over both would remove, whichever sides go and however they join."""
    axes = (thinned(one[0]), thinned(other[0]))
    size = min(len(one[1]), len(other[1]))
    first, second = (np.array(values[:size], np.float32) for values in (one[1], other[1]))
    parameters = {**axes[0].parameters(), **axes[1].parameters("other_"), "either": either}
    cells = answer(database, "rules/sweep_grid", {"score": first.tolist(), "other_score": second.tolist()}, parameters)
    join = np.logical_or if either else np.logical_and
    expected = [
        join(holds(first, x, below=axes[0].below), holds(second, y, below=axes[1].below)).sum()
        for x in decimals(axes[0])
        for y in decimals(axes[1])
    ]
    assert [cell["removed"] for cell in cells] == expected
    assert {cell["removed"] + cell["kept"] for cell in cells} == {size}


def thinned(axis: Axis) -> Axis:
    """The axis with at most ten steps, as a grid has."""
    return Axis(axis.concept, min(axis.steps, 10), axis.below)


@given(swept(), st.data())
@settings(max_examples=25)
def test_groups_sum_to_the_whole(
    database: duckdb.DuckDBPyConnection, given_scores: tuple[Axis, list[float]], data: st.DataObject
) -> None:
    """At every threshold the groups together, one without a name among them, remove and keep what the sweep does."""
    axis, values = given_scores
    names = data.draw(st.lists(st.sampled_from(["a", "b", "", None]), min_size=len(values), max_size=len(values)))
    whole = counted(values, axis.thresholds, below=axis.below)
    groups = answer(database, "rules/sweep_groups", {"score": values, "group_name": names}, axis.parameters())
    assert len(groups) == len({*names}) * len(whole)
    for step in whole:
        mine = [group for group in groups if group["threshold"] == step["threshold"]]
        assert sum(group["removed"] for group in mine) == step["removed"]
        assert sum(group["kept"] for group in mine) == step["kept"]
    scores = np.array(values, np.float32)
    for group in groups:
        member = np.array([name == group["group_name"] for name in names])
        assert group["removed"] == holds(scores[member], group["threshold"], below=axis.below).sum()


# stores


SCORES = {
    "people": {f"in/{folder}/{k}.jpg": (k % 7) / 8 for folder in ("a", "b/c", "b/d") for k in range(9)},
    "aesthetic": {f"in/{folder}/{k}.jpg": 1.0 + k for folder in ("a", "b/c", "b/d") for k in range(9)},
}


def two_concepts(folder: Path) -> EncoderStore:
    """27 images in three folders, scored as people and, from 1 to 10, as aesthetic."""
    store = new_store(folder)
    objects = [listed(key) for key in SCORES["people"]]
    list_source(store, objects)
    add_part(store, [embedded(one, width_px=100 * k) for k, one in enumerate(objects[:14])])
    add_part(store, [embedded(one, width_px=9000) for one in objects[14:]], part=1)
    return put_scores(store, SCORES, kinds=[AESTHETIC])


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """The store of `two_concepts`."""
    return two_concepts(tmp_path / "store")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store, for tests that only ask it."""
    with closing(ask(two_concepts(tmp_path_factory.mktemp("swept")))) as session:
        yield session


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"concept": "people"}, "people >= {0}"),
        ({"concept": "people", "below": True}, "people < {0}"),
        ({"concept": "aesthetic"}, "aesthetic < {0}"),
        ({"concept": "aesthetic", "below": False}, "aesthetic >= {0}"),
        ({"concept": "people", "where": "width_px < 1000"}, "people >= {0} and width_px < 1000"),
        ({"concept": "people", "across": "aesthetic"}, "people >= {0} and aesthetic < {1}"),
        ({"concept": "aesthetic", "across": "people"}, "aesthetic < {0} and people >= {1}"),
        ({"concept": "people", "across": "aesthetic", "either": True}, "people >= {0} or aesthetic < {1}"),
        ({"concept": "people", "across": "aesthetic", "below": True}, "people < {0} and aesthetic < {1}"),
    ],
)
def test_a_sweep_says_what_a_policy_removes(asked: Session, tmp_path: Path, words: dict[str, Any], rule: str) -> None:
    """At some thresholds all over the range, `select` and the manifests of the rule count what the sweep has said."""
    table = asked.sweep(steps=8, **words)
    thresholds = [name for name in table.column_names if name.endswith("threshold")]
    chosen = table.to_pylist()[1::2] if len(thresholds) == 1 else table.to_pylist()[5:70:17]
    for k, row in enumerate(chosen):
        text = rule.format(*(row[name] for name in thresholds))
        run = asked.export(str(tmp_path / f"run{k}"), remove=[text], report=False)
        assert asked.select(remove=[text], nearest=0).removed == run.removed == row["removed"], text
    assert len({row["removed"] for row in chosen}) > 2


@pytest.mark.parametrize(
    ("ends", "steps"),
    [((0.0, 1.0), (100, 10)), ((1.0, 10.0), (90, 9)), ((-1.0, 1.0), (100, 10)), ((0.0, 0.35), (70, 7))],
)
def test_thresholds_are_round_by_themselves(ends: tuple[float, float], steps: tuple[int, int]) -> None:
    """Where no number of steps is asked for, there are about 100, of a grid about 10, each 1, 2 or 5 of a decimal."""
    concept = head("x", *ends)
    assert tuple(Axis.of(concept, SweepWords(), about).steps for about in (STEPS, GRID_STEPS)) == steps


def test_a_concept_is_swept_in_its_own_range(store: EncoderStore) -> None:
    """Thresholds go from the lowest score to the highest: a rating's from 1 to 10, a cosine's from -1 to 1."""
    aesthetic = ask(store).sweep("aesthetic", 9).to_pylist()
    assert [row["threshold"] for row in aesthetic] == [float(k) for k in range(1, 11)]
    assert [row["removed"] for row in aesthetic] == [3 * k for k in range(10)]
    cosine = put_scores(store, {"sky": {}}, default=0.25, kinds=[Prompt("sky", "a sky", threshold=0.25)])
    rows = ask(cosine).sweep("sky", 4).to_pylist()
    assert [(row["threshold"], row["removed"]) for row in rows] == [(-1, 27), (-0.5, 27), (0, 27), (0.5, 0), (1, 0)]


@pytest.mark.parametrize(
    ("concept", "rule"),
    [(AESTHETIC, "aesthetic <"), (head("heat", unit="degrees"), "heat >="), (Ensemble("p", ("y",), ("n",)), "p >=")],
)
def test_which_side_goes_by_itself(concept: Concept, rule: str) -> None:
    """Of a rating the low ones go, of everything else the high ones; either can be asked for."""
    assert Axis.of(concept, SweepWords(), 10).rule == rule
    assert Axis.of(concept, SweepWords(below=True), 10).below
    assert not Axis.of(concept, SweepWords(below=False), 10).below


def test_a_sweep_by_folder(asked: Session) -> None:
    """Every folder has its own thresholds, in the order of their names."""
    rows = asked.sweep("people", 4, by="folder").to_pylist()
    assert [row["group_name"] for row in rows] == [f"in/{name}" for name in ("a", "b/c", "b/d") for _ in range(5)]
    assert [row["removed"] for row in rows[:5]] == [9, 5, 3, 1, 0]
    assert rows[5:10] == [{**row, "group_name": "in/b/c"} for row in rows[:5]]


def test_a_sweep_by_what_is_no_text(asked: Session) -> None:
    """Any expression makes groups, in the order of its values, null last; the column keeps its type."""
    rows = asked.sweep("people", 1, by="nullif(width_px // 1000, 0)").to_pylist()
    assert [row["group_name"] for row in rows] == [1, 1, 9, 9, None, None]
    assert sum(row["removed"] for row in rows if row["threshold"] == 0) == 27


def test_vectors_can_be_asked_about_and_are_not_held(store: EncoderStore) -> None:
    """A condition on the embedding is answered from the files."""
    session = ask(store)
    rows = session.sweep("people", 1, where="list_inner_product(embedding, embedding) > 0.5").to_pylist()
    assert rows[0]["removed"] == 27
    with session._kept.now() as opened:
        assert "embedding" not in opened.connection.sql("select * from held").columns


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        ({"concept": "peeple"}, UnknownName, r"'peeple'.*Nearest: people"),
        ({"concept": "people", "across": "aestetic"}, UnknownName, r"'aestetic'.*Nearest: aesthetic"),
        ({"concept": "people", "across": "mask"}, NotScored, r"mask has no scores yet\. .*score STORE mask`"),
        ({"concept": "people", "across": "people"}, UsageError, "people stands there twice"),
        ({"concept": "people", "across": "aesthetic", "by": "folder"}, UsageError, "a grid and has no groups"),
        ({"concept": "people", "across": "aesthetic", "steps": 1001}, UsageError, "at most 1,000 steps of each"),
        ({"concept": "people", "steps": 0}, UsageError, "1 to 10,000 steps, not 0"),
        ({"concept": "people", "steps": 10_001}, UsageError, "not 10,001"),
        ({"concept": "people", "by": "foldr"}, UnknownName, r"--by 'foldr'.*nearest column is 'folder'"),
        ({"concept": "people", "by": "folder) as a, (uri"}, UsageError, "more than one"),
        ({"concept": "people", "by": "count(*)"}, UsageError, "--by 'count"),
        ({"concept": "people", "by": "unnest([1, 2])"}, UsageError, "--by 'unnest"),
        ({"concept": "people", "by": "cast(key as integer)"}, UsageError, "try_cast"),
        ({"concept": "people", "where": "people"}, UsageError, "gives a FLOAT, not true or false"),
        ({"concept": "people", "where": "mask > 0.5"}, NotScored, "mask"),
        ({"concept": "people", "where": "true); drop view images; select (true"}, UsageError, "--where"),
    ],
)
def test_what_cannot_be_swept(asked: Session, words: dict[str, Any], kind: type[Exception], says: str) -> None:
    """A wrong word is one sentence that names it, and the nearest known one where there is one."""
    with pytest.raises(kind, match=says):
        asked.sweep(**words)


def test_too_many_groups(asked: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that would not fit is refused before it is made; with fewer steps it may fit."""
    monkeypatch.setattr("query.rules.sweep._MOST_ROWS", 1000)
    with pytest.raises(UsageError, match=r"--by 'uri' makes about 2\d groups, each with 101 thresholds.*--prefix 1"):
        asked.sweep("people", by="uri")
    assert asked.sweep("people", 10, by="uri").num_rows == 27 * 11


def test_thresholds_that_no_score_could_tell_apart(tmp_path: Path) -> None:
    """Steps finer than FLOAT are refused: two thresholds would be one number."""
    store = put_scores(stepped_store(tmp_path), {"far": {}}, kinds=[head("far", 1_000_000, 1_000_001)])
    assert ask(store).sweep("far", 4).num_rows == 5
    with pytest.raises(UsageError, match=r"1,000 steps of far are finer than its scores\. Take fewer steps"):
        ask(store).sweep("far", 1000)


def test_images_embedded_since_stop_a_sweep(store: EncoderStore) -> None:
    """A sweep over some of the images would be wrong, so it says how many parts lack scores."""
    add_part(store, [embedded(listed("in/late.jpg"))], number=2)
    with pytest.raises(NotScored, match=r"people, aesthetic: scores cover 2 of 3 parts"):
        ask(store).sweep("people", across="aesthetic")


# a dataset that grows


def grown(folder: Path) -> EncoderStore:
    """Three listings: five images, of which one is then deleted, one replaced; then two are added, one deleted."""
    store = new_store(folder)
    objects = {name: listed(f"in/{name}.jpg") for name in "abcde"}
    list_source(store, list(objects.values()), number=1)
    add_part(store, [embedded(one) for one in objects.values()], number=1)
    del objects["a"]
    objects["b"] = listed("in/b.jpg", etag="e2")
    list_source(store, list(objects.values()), number=2)
    add_part(store, [embedded(objects["b"])], number=2)
    objects |= {name: listed(f"in/{name}.jpg") for name in "fg"}
    del objects["c"]
    list_source(store, list(objects.values()), number=3)
    add_part(store, [embedded(objects[name]) for name in "fg"], number=3)
    return put_scores(store, {"people": {}}, default=0.5)


def test_what_is_gone_counts_nowhere(tmp_path: Path) -> None:
    """What the newest listing holds no more is in no view, score, sweep, group or manifest, and its row stays."""
    store = grown(tmp_path / "store")
    session = ask(store)
    now = [f"s3://photos/in/{name}.jpg" for name in "bdefg"]
    for view in ("current_images", "current_objects", "scores", "candidates"):
        assert session.sql(f"select uri from {view} order by uri")["uri"].to_pylist() == now, view  # noqa: S608
    assert session.sweep("people", 2)["removed"].to_pylist() == [5, 5, 0]
    assert session.sweep("people", 2, by="folder")["removed"].to_pylist() == [5, 5, 0]
    assert session.sweep("people", 1, across=None, where="width_px > 5")["removed"].to_pylist() == [5, 0]
    run = session.export(str(tmp_path / "run"), remove=["people >= 0.5"])
    assert (run.removed, run.listed) == (5, 5)
    assert session.sql("select count(*) as rows from images").to_pylist() == [{"rows": 8}]
    assert session.swept(["people"], SweepWords()).gone == session.status().no_longer_listed == 3


def test_a_new_listing_is_seen_at_once(tmp_path: Path) -> None:
    """A session that is open counts by the listing that has just been written."""
    store = grown(tmp_path)
    session = ask(store)
    assert session.sweep("people", 1)["removed"].to_pylist()[0] == 5
    list_source(store.refreshed(), [listed("in/d.jpg")], number=4)
    assert session.sweep("people", 1)["removed"].to_pylist()[0] == 1
    assert session.swept(["people"], SweepWords()).gone == 7


def test_an_image_read_twice_is_not_gone(tmp_path: Path) -> None:
    """Two workers' rows of one image are one image: neither counted twice nor called gone."""
    store = new_store(tmp_path)
    one = listed("in/a.jpg")
    list_source(store, [one])
    add_part(store, [embedded(one)], number=1)
    add_part(store, [embedded(one, minute=1)], number=2)
    store = put_scores(store, {"people": {}}, default=0.5)
    found = ask(store).swept(["people"], SweepWords())
    assert (found.table["removed"].to_pylist()[0], found.gone) == (1, 0)


def test_the_note_on_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command says on stderr how many images no longer count, in any format; where there are none, nothing."""
    monkeypatch.chdir(tmp_path)
    grown(tmp_path / "grown")
    stepped_store(tmp_path / "still")
    for kind in ("table", "csv", "json"):
        result = typed("sweep", "grown", "people", "--format", kind)
        assert "3 scored images are not counted: deleted or replaced at their source" in result.stderr
    assert parsed(typed("sweep", "grown", "people", "--format", "json"), "json")[0]["removed"] == 5
    assert typed("sweep", "still", "people").stderr == ""


# the command


@pytest.fixture
def _typed_here(store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user stands in the folder that holds `store`."""
    monkeypatch.chdir(tmp_path)


def words_of(line: str) -> list[str]:
    """A line of a table as words."""
    return line.split()


@pytest.mark.usefixtures("_typed_here")
def test_a_rating_for_people() -> None:
    """The first line says what is removed and what the numbers are; the suggested threshold is marked."""
    lines = typed("sweep", "store", "aesthetic", "--steps", "9").stdout.splitlines()
    assert lines[0] == "Removed where aesthetic < threshold. Scores of aesthetic: rating, 1 to 10."
    assert [words_of(line)[:3] for line in lines[3:6]] == [
        ["1.00", "0", "27"],
        ["2.00", "3", "24"],
        ["3.00", "6", "21"],
    ]
    assert [words_of(line)[0] for line in lines if "<- suggested" in line] == ["5.00"]
    above = typed("sweep", "store", "aesthetic", "--steps", "9", "--at-least").stdout.splitlines()
    assert above[0].startswith("Removed where aesthetic >= threshold.")
    assert words_of(above[4])[:3] == ["2.00", "24", "3"]


@pytest.mark.usefixtures("_typed_here")
def test_groups_for_people() -> None:
    """A row for each group with its share at some thresholds, in the order of what the suggested one removes."""
    result = typed("sweep", "store", "people", "--by", "folder", "--where", "uri not like '%/b/d/1.jpg'")
    lines = [words_of(line) for line in result.stdout.splitlines()[2:]]
    assert lines[0] == ["folder", "images", *words_of("0.10 0.20 0.30 0.40 0.50* 0.60 0.70 0.80 0.90")]
    assert [line[:2] for line in lines[1:]] == [["in/a", "9"], ["in/b/c", "9"], ["in/b/d", "8"]]
    assert lines[1][6] == "33.3%"
    assert "suggested" in result.stderr


@pytest.mark.usefixtures("_typed_here")
def test_groups_by_prefix() -> None:
    """`--prefix 2` groups by the first two folders, however many there are below."""
    rows = parsed(typed("sweep", "store", "people", "--prefix", "2", "--format", "csv"), "csv")
    assert {row["group_name"] for row in rows} == {"in/a", "in/b"}
    deep = parsed(typed("sweep", "store", "people", "--prefix", "9", "--format", "csv"), "csv")
    assert {row["group_name"] for row in deep} == {"in/a", "in/b/c", "in/b/d"}
    lines = typed("sweep", "store", "people", "--prefix", "1").stdout.splitlines()
    assert re.split(r" {2,}", lines[2])[0] == "prefix of 1"
    assert typed("sweep", "store", "people", "--prefix", "1", "--by", "folder").exit_code == 2


def test_many_groups_for_people(tmp_path: Path) -> None:
    """A terminal shows forty groups, those that lose most, and says how many more there are; CSV has them all."""
    store = new_store(tmp_path)
    objects = [listed(f"in/{k:03}/{i}.jpg") for k in range(50) for i in range(k % 3 + 1)]
    list_source(store, objects)
    add_part(store, [embedded(one, words="one") for one in objects])
    put_scores(store, {"people": {}}, default=0.75)
    result = typed("sweep", str(tmp_path), "people", "--by", "folder")
    rows = [words_of(line) for line in result.stdout.splitlines()[3:]]
    assert [int(row[1]) for row in rows] == [3] * 16 + [2] * 17 + [1] * 7
    assert "10 more groups lose fewer" in result.stderr
    csv = parsed(typed("sweep", str(tmp_path), "people", "--by", "folder", "--format", "csv"), "csv")
    assert len({row["group_name"] for row in csv}) == 50


@pytest.mark.usefixtures("_typed_here")
def test_a_grid_for_people() -> None:
    """Of two concepts a matrix of shares is shown, at round thresholds, the suggested ones marked."""
    result = typed("sweep", "store", "people", "aesthetic")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Removed where people >= its threshold and aesthetic < its threshold.")
    assert lines[2].startswith("people >= / aesthetic <")
    assert words_of(lines[2])[5:] == words_of("1.00 2.00 3.00 4.00 5.00* 6.00 7.00 8.00 9.00 10.00")
    rows = [words_of(line) for line in lines[3:]]
    assert [row[0] for row in rows] == words_of("0.00 0.10 0.20 0.30 0.40 0.50* 0.60 0.70 0.80 0.90 1.00")
    assert rows[0][1:] == [f"{100 * k / 9:.1f}%" for k in range(10)]
    either = typed("sweep", "store", "people", "aesthetic", "--either").stdout.splitlines()
    assert " or " in either[0]
    assert words_of(either[3])[1] == "100.0%"


@pytest.mark.usefixtures("_typed_here")
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_grid_for_machines(kind: str) -> None:
    """A row for each pair of thresholds, named after their concepts."""
    rows = parsed(typed("sweep", "store", "people", "aesthetic", "--steps", "3", "--format", kind), kind)
    assert len(rows) == 16
    assert list(rows[0]) == ["people_threshold", "aesthetic_threshold", "removed", "kept", "removed_share"]
    assert [(float(row["people_threshold"]), float(row["aesthetic_threshold"])) for row in rows[:2]] == [(0, 1), (0, 4)]


@pytest.mark.usefixtures("_typed_here")
def test_an_unknown_concept_is_one_line() -> None:
    """A second concept that does not exist is answered with the nearest one."""
    result = typed("sweep", "store", "people", "aestetic")
    assert result.exit_code == 2
    assert "Nearest: aesthetic" in one_line(result)


# the plot


def texts(svg: Path) -> set[str]:
    """Every text of a picture."""
    return {unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text(encoding="utf-8"))}


def test_a_plot_says_what_it_shows(asked: Session, tmp_path: Path) -> None:
    """Both axes and the curve are labelled, with the unit, the side that goes and what the suggestion removes."""
    pytest.importorskip("matplotlib")
    asked.sweep("aesthetic", 9, plot=str(tmp_path / "a.svg"))
    assert {
        "aesthetic: 27 images",
        "aesthetic (rating)",
        "images per 1",
        "removed where aesthetic < threshold",
        "5.00, as suggested, removes 44.4%",
        "100%",
    } <= texts(tmp_path / "a.svg")


def test_a_plot_of_a_grid(asked: Session, tmp_path: Path) -> None:
    """A map of two concepts names both thresholds and the rule."""
    pytest.importorskip("matplotlib")
    asked.sweep("people", across="aesthetic", either=True, plot=str(tmp_path / "a.svg"))
    assert {
        "people >= its threshold or aesthetic < its threshold: 27 images",
        "threshold of people (probability)",
        "threshold of aesthetic (rating)",
        "removed",
    } <= texts(tmp_path / "a.svg")


@pytest.mark.parametrize("kind", ["svg", "png"])
@pytest.mark.parametrize("other", [None, "aesthetic"])
def test_the_same_sweep_is_the_same_picture(asked: Session, tmp_path: Path, kind: str, other: str | None) -> None:
    """Two drawings of one sweep are the same bytes: no time and no random name stands in them."""
    pytest.importorskip("matplotlib")
    one, two = tmp_path / f"one.{kind}", tmp_path / f"two.{kind.upper()}"
    for file in (one, two):
        asked.sweep("people", across=other, plot=str(file))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"<?xml")


@pytest.mark.parametrize("scores", [[], [0.0], [1.0, 1.0], [0.001] * 900 + [0.2, 0.5, 0.9, 0.95]])
def test_odd_scores_can_be_drawn(tmp_path: Path, scores: list[float]) -> None:
    """No image, one image, all at one end, and nearly all in one bar."""
    pytest.importorskip("matplotlib")
    store = new_store(tmp_path / "store")
    objects = [listed(f"in/{k}.jpg") for k in range(len(scores))]
    list_source(store, objects)
    add_part(store, [embedded(one, words="one") for one in objects])
    store = put_scores(store, {"people": {one.key: s for one, s in zip(objects, scores, strict=True)}, "mask": {}})
    ask(store).sweep("people", 1000, plot=str(tmp_path / "one.png"))
    ask(store).sweep("people", across="mask", plot=str(tmp_path / "two.png"))
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png", "store"}


@pytest.mark.usefixtures("_typed_here")
def test_the_command_draws_and_prints(tmp_path: Path) -> None:
    """`--plot` writes the picture beside the table."""
    pytest.importorskip("matplotlib")
    result = typed("sweep", "store", "people", "--steps", "4", "--plot", "people.png")
    assert "<- suggested" in result.stdout
    assert (tmp_path / "people.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_typed_here")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("people", "--plot", "people.jpg"), r"people\.jpg does not say what to draw\. Let its name end in \.png or"),
        (("people", "--plot", "a.png", "--by", "folder"), "Groups are not drawn"),
    ],
)
def test_what_is_not_drawn(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    """An ending that is no picture's, or groups, are wrong use; nothing is printed or written."""
    pytest.importorskip("matplotlib")
    result = typed("sweep", "store", *words)
    assert result.exit_code == 2
    assert re.search(says, one_line(result))
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_without_matplotlib_one_sentence(asked: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the error says what to install; the sweep itself needs nothing of it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"Drawing needs matplotlib.*pip install 'clipsieve\[plot\]'"):
        asked.sweep("people", plot="people.png")
    assert asked.sweep("people").num_rows == 101
