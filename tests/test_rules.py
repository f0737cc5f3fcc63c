"""Rules are SQL conditions over metadata and scores: true removes, the first that holds decides, a rule only asks."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from query.session import Session
from store.errors import ClipsieveError, NotScored, UnknownName, UsageError
from store.layout import EncoderStore
from tests.stores import add_part, ask, embedded, files_of, listed, read_csv, small_store, stepped_store


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rule might write would be found."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images that score 0, 1/12, 2/12, … as people, one that failed, one file that is no image."""
    return stepped_store(tmp_path / "store")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store for all rules, so what one of them broke the next ones would meet."""
    with closing(ask(stepped_store(tmp_path_factory.mktemp("rules")))) as session:
        yield session


def test_the_first_rule_that_holds_decides(store: EncoderStore, tmp_path: Path) -> None:
    """Rules are read in their order; each counts what it decides, and what it holds for at all."""
    rules = ["people >= 0.9", "people >= 0.5", "key = 'in/11.jpg'", "people >= 0.5"]
    run = ask(store).export(str(tmp_path / "run"), remove=rules)
    assert [(r["number"], r["rule"], r["decides"], r["holds_for"]) for r in run.rules] == [
        (number, rule, *counts)
        for number, (rule, counts) in enumerate(zip(rules, ((1, 1), (5, 6), (0, 1), (0, 6)), strict=True), 1)
    ]
    decided_by = {row["key"]: row["rule"] for row in read_csv(Path(run.place, "removed.csv"))}
    assert decided_by["in/11.jpg"] == "people >= 0.9"
    assert decided_by["in/06.jpg"] == "people >= 0.5"


@pytest.mark.parametrize(
    ("rule", "removed"),
    [
        ("exif_orientation > 1", 0),  # null for every image
        ("exif_orientation > 1 or people >= 0.5", 6),
        ("not (exif_orientation > 1)", 0),
        ("exif_orientation is null", 12),
        ("people >= 0.5 -- the faces", 6),
        ("people >= 0.5 /* and people < 0.6 */", 6),
        ("people >= 0.5 -- at least half\n and people < 0.7", 3),
        ("key = 'in/\n00.jpg' or key = 'in/ 01.jpg'", 0),
        ("PEOPLE >= 0.5 and candidates.People < 0.7", 3),
        ("people between 0.5 and 0.5", 1),
        ("true", 12),
        ("false", 0),
        ("people >= (select avg(people) from scores)", 6),
        ("uri in (select uri from current_images where size_bytes > 5)", 12),
        ("len(list_filter(embedding, lambda x: x > 2)) > 0", 0),
        ("list_inner_product(embedding, embedding) > 0.5", 12),
        ("regexp_matches(key, '^in/0[0-4]')", 5),
        ("exists (select 1 from (select unnest([people]) as p) where p >= 0.5)", 6),
        ("true in (select unnest([people >= 0.5]))", 6),
        ("error_code is null", 12),  # what failed meets no rule
    ],
)
def test_what_a_rule_removes(asked: Session, tmp_path: Path, rule: str, removed: int) -> None:
    """A rule removes exactly the images for which it is true, read as it was typed; null does not remove."""
    run = asked.export(str(tmp_path / "run"), remove=[rule], report=False)
    assert run.removed == removed
    assert run.rules[0]["rule"] == rule
    assert (run.errors, run.listed) == (2, 14)


@pytest.mark.parametrize(
    ("rule", "kind", "says"),
    [
        ("", UsageError, "empty"),
        (" \n", UsageError, "empty"),
        ("peeple >= 0.5", UnknownName, "nearest column is 'people'"),
        ("widht_px < 5", UnknownName, "nearest column is 'width_px'"),
        ("mask >= 0.5", NotScored, "clipsieve score STORE mask"),
        ("people", UsageError, "gives a FLOAT"),
        ("people + 1", UsageError, "not true or false"),
        ("null", UsageError, "not true or false"),
        ("people >=", UsageError, "no SQL condition"),
        ("(people >= 0.5", UsageError, "no SQL condition"),
        ("people >= 0.5)", UsageError, "no SQL condition"),
        ("people >= 0.5; select 1", UsageError, "no SQL condition"),
        ("1=1) from images; copy images to 'written.csv'; select (1", UsageError, "no SQL condition"),
        ("1=1); drop view images; select (1=1", UsageError, "no SQL condition"),
        ("1=1); select (1=1", UsageError, "more than one condition"),
        ("1=1) from images where (1=1", UsageError, "more than one condition"),
        ("people >= 0.5) union select (true", UsageError, "more than one condition"),
        ("1=1), (2=2", UsageError, "more than one condition"),
        ("true) as a, (true", UsageError, "more than one condition"),
        ("1=1) where (1=2", UsageError, "DuckDB rejects"),
        ("*", UsageError, "more than one condition"),
        ("columns(*) is null", UsageError, "more than one condition"),
        ("count(*) > 5", UsageError, "DuckDB rejects"),
        ("people >= $threshold", UsageError, "DuckDB rejects"),
        ("people >= ?", UsageError, "DuckDB rejects"),
        ("no_such_function(people)", UsageError, "DuckDB rejects"),
        ("people >= 'much'", UsageError, "Could not convert"),
        ("cast(key as integer) > 5", UsageError, "try_cast"),
        ("1=1 /*", UsageError, "no SQL condition"),
        ("write_log('x') is null", UsageError, "write_log()"),
        ("exists (from enable_logging('QueryLog'))", UsageError, "enable_logging()"),
        ("exists (with x as (copy images to 'written.csv') select 1)", UsageError, "a COPY inside of WITH"),
        ("exists (with x as (delete from superseded returning *) from x)", UsageError, "a DELETE inside of WITH"),
        ("unnest([true, false])", UsageError, "several rows of one image"),
        ("unnest([]::boolean[])", UsageError, "several rows of one image"),
        ("random() < 0.1", UsageError, "answers anew every time"),
        ("people >= random()", UsageError, "hash(uri) % 100 < 10"),
    ],
)
def test_what_is_no_rule(asked: Session, tmp_path: Path, rule: str, kind: type[Exception], says: str) -> None:
    """A rule that is no single condition, asks for what is not there or could write is refused; nothing is written."""
    place = Path(asked.store.location.uri)
    before = files_of(place)
    with pytest.raises(ClipsieveError) as caught:
        asked.export(str(tmp_path / "run"), remove=["people >= 0.5", rule])
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert "\nLINE" not in str(caught.value)
    assert files_of(place) == before
    assert files_of(tmp_path) == {}
    assert not (tmp_path / "run").exists()


def test_unscored_parts_stop_a_rule_that_needs_them(store: EncoderStore, tmp_path: Path) -> None:
    """Images embedded since the scores: a rule over scores is refused, one over metadata is not."""
    add_part(store, [embedded(listed("in/late.jpg"))], number=2)
    with pytest.raises(NotScored, match=r"2 of 3 parts.*clipsieve score"):
        ask(store).export(str(tmp_path / "run"), remove=["people >= 0.5"])
    with pytest.raises(NotScored):
        ask(store).export(str(tmp_path / "run"), remove=["PEOPLE >= 0.5"])
    assert ask(store).export(str(tmp_path / "run"), remove=["width_px > 5"]).removed == 12


def test_a_store_without_scores_can_be_exported(tmp_path: Path) -> None:
    """Rules over metadata need no scores."""
    run = ask(small_store(tmp_path / "store")).export(str(tmp_path / "run"), remove=["key < 'in/05'"])
    assert (run.removed, run.kept) == (5, 7)
