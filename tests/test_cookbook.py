"""The cookbook: every question runs by name on every store, its parameters are checked, and the docs list it."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import sql
from query.asking.cookbook import Value, find_recipe, parse_settings, recipes
from query.asking.headers import described_views, parameters, sentence
from query.session import Session
from store.errors import NotScored, QueryRefused, UnknownName, UsageError
from store.layout import EncoderStore
from store.prompts import add_prompts
from tests.commands import one_line, parsed, typed
from tests.stores import ask, new_store, put_scores, small_store, unit

PAGE = (Path(__file__).parents[1] / "docs" / "sql.md").read_text(encoding="utf-8")
NAMES = [recipe.name for recipe in recipes()]
GIVEN: dict[str, Value] = {
    "other_concept": "mask",
    "text": "a dog",
    "uri": "s3://photos/in/03.jpg",
    "folder": "in",
}


def asked_store(folder: Path) -> EncoderStore:
    """A small store with scores of two concepts, and a cached text."""
    store = small_store(folder, pending=["later.jpg"])
    add_prompts(store, ["a dog"], unit("a dog")[None])
    people, mask = ({f"in/{k:02}.jpg": k / step for k in range(12)} for step in (12, 24))
    return put_scores(store, {"people": people, "mask": mask})


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Such a store, at `store`."""
    return asked_store(tmp_path / "store")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store, for tests that only ask it."""
    with closing(ask(asked_store(tmp_path_factory.mktemp("cookbook")))) as session:
        yield session


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over a store without images."""
    with closing(ask(new_store(tmp_path_factory.mktemp("empty")))) as session:
        yield session


def given(name: str) -> dict[str, Value]:
    """A value for each parameter that has no default."""
    return {key: GIVEN[key] for key, default in find_recipe(name).parameters.items() if default is None}


@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_answered(asked: Session, name: str) -> None:
    """Each question runs on a store of ours with nothing given but what has no default."""
    table = asked.cookbook(name, **given(name))
    assert table.num_columns > 0
    nothing_to_tell = {"changed_at_source", "gone_from_source", "odd_shapes", "same_bytes"}
    assert (table.num_rows > 0) == (name not in nothing_to_tell)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"similar_to_image", "similar_to_text"}))
def test_an_empty_store_has_nothing_to_tell(empty: Session, name: str) -> None:
    """On a store without images a question has no rows, or says that there are no scores yet."""
    if any(parameter.endswith("concept") for parameter in find_recipe(name).parameters):
        with pytest.raises(NotScored, match="clipsieve score STORE people"):
            empty.cookbook(name, **given(name))
    else:
        assert empty.cookbook(name, **given(name)).num_rows == 0


def test_parameters_are_bound(asked: Session) -> None:
    """A parameter is a value, whatever stands in it; one that is left out has the default of the header."""
    assert asked.cookbook("highest", rows=2, concept="mask")["score"].to_pylist() == [
        pytest.approx(11 / 24),
        pytest.approx(10 / 24),
    ]
    assert asked.cookbook("highest").num_rows == 12
    assert asked.cookbook("share_by_folder", threshold=0.75)["removed"].to_pylist() == [3]
    assert asked.cookbook("strangest_in_folder", folder="in' or true --").num_rows == 0


def test_a_threshold_includes_equality_as_it_is_written(tmp_path: Path) -> None:
    """A threshold of 0.7 removes a score of 0.7, although neither is exactly that."""
    store = put_scores(small_store(tmp_path / "store"), {"people": {"in/00.jpg": 0.7}})
    for threshold in (0.7, "0.7"):
        assert ask(store).cookbook("bytes_saved", threshold=threshold)["removed"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("name", "values", "kind", "says"),
    [
        ("hihgest", {}, UnknownName, "Nearest: highest"),
        ("highest", {"row": 3}, UnknownName, "no parameter 'row'.*concept=people rows=20.*Nearest: rows"),
        ("formats", {"rows": 3}, UnknownName, "no parameter 'rows'. It has none"),
        ("similar_to_text", {}, UsageError, "similar_to_text: text is missing"),
        ("highest", {"rows": "many"}, UsageError, "rows must be a whole number, not 'many'"),
        ("highest", {"rows": 2.5}, UsageError, "rows must be a whole number, not 2.5"),
        ("highest", {"rows": "2.5"}, UsageError, "rows must be a whole number, not '2.5'"),
        ("bytes_saved", {"threshold": "half"}, UsageError, "threshold must be a number, not 'half'"),
        ("bytes_saved", {"threshold": "nan"}, UsageError, "threshold must be a number, not 'nan'"),
        ("highest", {"concept": "peeple"}, UnknownName, "no scores of 'peeple'.*Scored: mask, people.*Nearest: people"),
        ("highest", {"concept": "sunglasses"}, NotScored, "clipsieve score STORE sunglasses.*or set concept=mask"),
        ("disagreement", {"other_concept": "x"}, UnknownName, "no scores of 'x'"),
        ("similar_to_text", {"text": "a dig"}, QueryRefused, 'nearest one that is: "a dog"'),
        ("similar_to_image", {"uri": "s3://photos/in/broken.jpg"}, QueryRefused, "no embedded image"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    asked: Session, name: str, values: dict[str, Value], kind: type[Exception], says: str
) -> None:
    """An unknown question or parameter has a nearest one; a missing or impossible value is named."""
    with pytest.raises(kind, match=says):
        asked.cookbook(name, **values)


def test_settings_are_names_and_values() -> None:
    """The first `=` parts name and value; a word without one is refused."""
    assert parse_settings(["text=a=b", "$rows=3", " depth =2"]) == {"text": "a=b", "rows": "3", "depth": "2"}
    for word in ("rows", "=3", ""):
        with pytest.raises(UsageError, match="sets nothing"):
            parse_settings([word])


def test_the_command_asks_by_name(store: EncoderStore, tmp_path: Path) -> None:
    """`clipsieve sql --cookbook NAME --set …` answers as the session does, in every format, and into a file."""
    place, answer = str(tmp_path / "store"), tmp_path / "answer.json"
    words = ["sql", place, "--cookbook", "highest", "--set", "concept=mask", "--set", "rows=2"]
    expected = ask(store).cookbook("highest", concept="mask", rows=2).to_pylist()
    assert parsed(typed(*words, "--format", "json"), "json") == expected
    written = typed(*words, "--out", str(answer))
    assert (written.stdout, written.stderr) == ("", f"2 rows written to {answer}.\n")
    assert answer.read_text() == typed(*words, "--format", "json").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["select 1", "--cookbook", "highest"], "Ask one at a time"),
        (["select 1", "--set", "rows=1"], "--set is for the parameters of --cookbook"),
        (["select 1", "--out", "answer.csv", "--format", "json"], "answer.csv is no name for json"),
        (["select 1", "--out", "answer.txt"], "Let its name end in .csv, .json or .parquet"),
    ],
)
def test_words_that_do_not_go_together_are_wrong_use(
    store: EncoderStore, tmp_path: Path, words: list[str], says: str
) -> None:
    """A query beside a name, a setting without a question and a file of no known kind are refused."""
    asked = typed("sql", str(tmp_path / "store"), *words)
    assert asked.exit_code == 2
    assert says in one_line(asked)


@pytest.mark.parametrize("words", [["sql", "--cookbook"], ["sql", "no-such-store", "--cookbook"]])
def test_the_list_needs_no_store(words: list[str]) -> None:
    """`clipsieve sql --cookbook` lists every question with its sentence and its parameters."""
    asked = typed(*words)
    assert asked.exit_code == 0
    for recipe in recipes():
        (line,) = (line for line in asked.stdout.splitlines() if line.startswith(f"{recipe.name} "))
        assert recipe.sentence in line
        assert recipe.words in line


def test_headers_say_what_may_be_set() -> None:
    """There are at least fifteen questions; each header names exactly the parameters that the query has."""
    assert len(recipes()) >= 15
    for recipe in recipes():
        body = re.sub(r"--.*", "", recipe.query)
        assert set(re.findall(r"\$(\w+)", body)) == set(recipe.parameters), recipe.name
        assert recipe.sentence.endswith("."), recipe.name


def test_a_header_is_read_as_it_is_written() -> None:
    """The first sentence, over several lines; defaults in parentheses; what follows a parameter is its explanation."""
    query = (
        "-- One\n-- sentence. Another.\n-- Grain: one row. Parameters: $a (x y), $b, which is b,\n-- $c (3).\nselect 1"
    )
    assert sentence(query) == "One sentence."
    assert parameters(query) == {"a": "x y", "b": None, "c": "3"}


def _table(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading of docs/sql.md, by their first cell."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def test_the_page_lists_the_cookbook() -> None:
    """docs/sql.md has a row for every question, with its sentence and its parameters, and for no other."""
    expected = {r.name: [r.sentence, f"`{r.words}`" if r.words else ""] for r in recipes()}
    assert _table("The cookbook") == expected


def test_the_page_lists_views_and_macros(asked: Session) -> None:
    """docs/sql.md has a row for every view that can be asked, and for every macro, and for no other."""
    assert set(_table("Views")) == {name for name, _ in described_views()}
    macros = [name.removeprefix("macros/") for name in sql.names("macros")]
    assert [name.partition("(")[0] for name in _table("Macros")] == macros
    for view in _table("Views"):
        assert asked.sql(f"from {view} limit 1").num_columns > 0


def test_the_pages_queries_are_answered(asked: Session) -> None:
    """Every query of docs/sql.md is one that a store answers."""
    queries = re.findall(r"^```sql\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(queries) >= 4
    for query in queries:
        assert asked.sql(query).num_columns > 0
