"""What counts: the views answer as their plain definitions do, whichever joins a store can do without."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query import views
from query.connection import DEFAULT_MEMORY, MEMORY_VARIABLE, connect
from query.opened import Opened
from query.scoring.score_sets import read_sets
from sql import load
from store.errors import UsageError
from store.layout import EncoderStore
from store.location import FolderLocation
from store.parts import parquet_bytes, read_part
from tests.stores import add_part, ask, broken, embedded, list_source, listed, new_store, put_scores, small_store


class Read(NamedTuple):
    """A row of `image_rows`."""

    image_id: int
    run_id: str
    status: str
    embedded_at: int


class Found(NamedTuple):
    """A row of `listing_rows`."""

    source: str
    run_id: str
    uri: str


reads = st.lists(
    st.builds(
        Read,
        st.integers(1, 4),
        st.sampled_from(["r1", "r2", "r3"]),
        st.sampled_from(["embedded", "failed", "not_an_image"]),
        st.integers(0, 3),
    ),
    max_size=12,
)
SOURCES = ["s3://b/", "s3://b/a/", "s3://b/a/x/", "s3://b/c/", "s3://b/c", "a list of addresses"]
URIS = ["s3://b/1", "s3://b/a/1", "s3://b/a/x/1", "s3://b/a/x/", "s3://b/b/1", "s3://b/c/1", "s3://b/cc", "s3://c/1"]
listings = st.dictionaries(  # of each source the newest listing: a run and what it found, wherever that lies
    st.sampled_from(SOURCES), st.tuples(st.integers(1, 5), st.sets(st.sampled_from(URIS), min_size=1)), max_size=4
)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """One database for all examples."""
    with duckdb.connect() as connection:
        yield connection


def given_table(
    database: duckdb.DuckDBPyConnection, name: str, rows: Sequence[tuple[Any, ...]], schema: pa.Schema
) -> None:
    """Create a view of these rows."""
    arrays = [pa.array([row[k] for row in rows], field.type) for k, field in enumerate(schema)]
    database.from_arrow(pa.table(arrays, schema=schema)).create_view(name, replace=True)


def answers(database: duckdb.DuckDBPyConnection, view: str, *replaced: str) -> list[tuple[Any, ...]]:
    """The rows of a view over what is replaced, as a store's opening creates both."""
    for name in (view, *replaced):
        database.execute(f"drop {kind_of(database, name) or 'view if exists'} {name}")
    for name in replaced:
        views._create_replaced(database, name)
    database.execute(load(f"views/{view}"))
    return sorted(database.sql(f"from {view}").fetchall())


def kind_of(database: duckdb.DuckDBPyConnection, name: str) -> str:
    """Whether a name is a view's or a table's, if it is there."""
    query = "select table_type from information_schema.tables where table_name = $name"
    found = database.execute(query, {"name": name}).fetchall()
    return {"VIEW": "view", "LOCAL TEMPORARY": "table"}[found[0][0]] if found else ""


@given(reads)
@settings(max_examples=60)
def test_of_each_image_the_best_row_counts(database: duckdb.DuckDBPyConnection, rows: list[Read]) -> None:
    """What did not fail counts before what did, then the later row, then the later run; a run's rows stay together."""
    text, number = pa.string(), pa.int64()
    schema = pa.schema({"image_id": number, "run_id": text, "status": text, "embedded_at": number})
    given_table(database, "image_rows", rows, schema)
    best: dict[int, tuple[bool, int, str]] = {}
    for image_id, run_id in {(row.image_id, row.run_id) for row in rows}:
        mine = [row for row in rows if (row.image_id, row.run_id) == (image_id, run_id)]
        rank = (not all(row.status == "failed" for row in mine), max(row.embedded_at for row in mine), run_id)
        best[image_id] = max(best.get(image_id, rank), rank)
    assert answers(database, "images", "superseded") == sorted(
        row for row in rows if row.run_id == best[row.image_id][2]
    )
    replaced = len({(row.image_id, row.run_id) for row in rows}) > len(best)
    assert kind_of(database, "superseded") == ("table" if replaced else "view")


@given(listings)
@settings(max_examples=60)
def test_the_newest_listing_that_covers_an_object_decides(
    database: duckdb.DuckDBPyConnection, by_source: dict[str, tuple[int, set[str]]]
) -> None:
    """An object counts where no listing of a later run has a source that its URI begins with, or is a list of it."""
    rows = [Found(source, f"r{run}", uri) for source, (run, uris) in by_source.items() for uri in uris]
    given_table(
        database, "listing_rows", rows, pa.schema({"source": pa.string(), "run_id": pa.string(), "uri": pa.string()})
    )
    covered = {row for row in rows for later in rows if later.run_id > row.run_id and row.uri.startswith(later.source)}
    named = {
        row
        for row in rows
        for later in rows
        if later.run_id > row.run_id and later.uri == row.uri and not later.source.endswith("/")
    }
    expected = sorted(row for row in rows if row not in covered | named)
    assert answers(database, "current_objects", "covered", "relisted") == expected


# an opened store


def one_run(folder: Path) -> EncoderStore:
    """Twelve images, read by one run, all listed."""
    return small_store(folder)


def read_twice(folder: Path) -> EncoderStore:
    """Two runs have read one image, and one image failed before it was embedded."""
    store = new_store(folder)
    objects = [listed(f"in/{name}.jpg") for name in "abc"]
    list_source(store, objects)
    add_part(store, [embedded(objects[0]), broken(objects[1])], number=1)
    add_part(store, [embedded(one, minute=1) for one in objects], number=2)
    return store


def overlapping(folder: Path) -> EncoderStore:
    """A folder of the source was listed again by itself, after one of its objects was replaced and one deleted."""
    store = new_store(folder)
    objects = [listed(f"in/{key}.jpg") for key in ("a/1", "a/2", "a/3", "b/1")]
    list_source(store, objects, number=1)
    add_part(store, [embedded(one) for one in objects], number=1)
    below = "s3://photos/in/a/"
    again = [listed("in/a/1.jpg", etag="e2", source=below), listed("in/a/3.jpg", source=below)]
    list_source(store, again, number=2, source=below)
    add_part(store, [embedded(again[0])], number=2)
    return store


STORES = [one_run, read_twice, overlapping]


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Each of these stores, scored and opened."""
    make: Callable[[Path], EncoderStore] = request.param
    store = make(tmp_path / "store")
    names = [row["key"] for row in ask(store).sql("select distinct key from images").to_pylist()]
    store = put_scores(store, {"people": {key: k / 16 for k, key in enumerate(sorted(names))}, "mask": {}})
    opened = Opened.open(store, read_sets(store)[0])
    with opened.connection:
        yield opened


def rows(opened: Opened, query: str) -> list[tuple[Any, ...]]:
    """The answer, in an order of its own."""
    return sorted(opened.connection.sql(query).fetchall(), key=repr)


def test_what_is_held_is_what_candidates_are(opened: Opened) -> None:
    """Scores alone, which need fewer joins, and any other columns are held for the same images, each once."""
    everything = rows(opened, "select image_id, people, mask, width_px from candidates")
    opened.hold(["people"])
    assert rows(opened, "from held") == [row[:2] for row in everything]
    opened.hold(["mask"])
    assert rows(opened, "select image_id, people, mask from held") == [row[:3] for row in everything]
    opened.hold(["width_px"])
    assert rows(opened, "select image_id, people, mask, width_px from held") == everything
    opened.hold(["people"])
    assert "width_px" in opened.connection.table("held").columns


def test_an_image_without_scores_is_held(tmp_path: Path) -> None:
    """Where a part is not scored yet, its images are held with no score, so that metadata can be asked about."""
    store = put_scores(small_store(tmp_path), {"people": {}}, default=0.5)
    add_part(store, [embedded(listed("in/late.jpg"))], number=2)
    list_source(store, [listed("in/late.jpg"), listed("in/00.jpg")], number=2)
    store = store.refreshed()
    opened = Opened.open(store, read_sets(store)[0])
    with opened.connection:
        opened.hold(["people"])
        assert rows(opened, "select people from held") == [(0.5,), (None,)]


@pytest.mark.parametrize(
    ("make", "joined"), [(one_run, []), (read_twice, ["images"]), (overlapping, ["current_objects"])]
)
def test_a_store_of_one_run_needs_no_join_with_what_is_replaced(
    tmp_path: Path, make: Callable[[Path], EncoderStore], joined: list[str]
) -> None:
    """Where nothing is replaced, DuckDB's plan has no join with it; where something is, it has."""
    session = ask(make(tmp_path))
    plans = {
        "images": session.sql("explain select uri from images"),
        "current_objects": session.sql("explain select uri from current_objects"),
    }
    assert [view for view, plan in plans.items() if "ANTI" in str(plan.to_pylist())] == joined


def test_a_store_without_lists_needs_no_join_with_their_columns(tmp_path: Path) -> None:
    """Where no source was a list, a question to `candidates` reads no more files and joins no more than before."""
    session = ask(one_run(tmp_path))
    plan = str(session.sql("explain select uri, width_px from candidates").to_pylist())
    assert "metadata" not in plan
    assert "JOIN" not in plan.replace("ANTI", "")


def without_column(store: EncoderStore, name: str, column: str) -> None:
    """Write a part again as it was before this column came."""
    file = f"images/{name}.parquet"
    table = read_part(store.location, file).drop_columns([column])
    store.location.write(file, parquet_bytes(table))


@pytest.mark.parametrize("older", [[1], [2], [1, 2]])
def test_a_part_older_than_a_column_has_null_there(tmp_path: Path, older: list[int]) -> None:
    """A store that an earlier version wrote, wholly or in part, is read: a column that came since is null there."""
    store = new_store(tmp_path)
    objects = [listed("in/a.jpg"), listed("in/b.jpg")]
    list_source(store, objects)
    for number, one in enumerate(objects, 1):
        name = add_part(store, [replace(embedded(one), pixels_sha256="p")], number=number)
        if number in older:
            without_column(store, name, "pixels_sha256")
    store = put_scores(store, {"people": {}}, default=0.5)
    found = ask(store).sql("select pixels_sha256 from candidates order by uri")["pixels_sha256"].to_pylist()
    assert found == [None if number in older else "p" for number in (1, 2)]
    assert ask(store).sweep("people", 1)["removed"].to_pylist() == [2, 0]
    assert ask(store).export(str(tmp_path / "run"), remove=["pixels_sha256 = 'p'"]).removed == 2 - len(older)


# memory


def test_memory_is_bounded_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB takes what the variable says, else a little over a gigabyte; what is no amount is one sentence."""
    place = FolderLocation(tmp_path)

    def limit() -> str:
        with connect(place) as connection:
            ((found,),) = connection.execute("select current_setting('memory_limit')").fetchall()
        return str(found)

    monkeypatch.delenv(MEMORY_VARIABLE, raising=False)
    assert (DEFAULT_MEMORY, limit()) == ("1250MB", "1.1 GiB")
    monkeypatch.setenv(MEMORY_VARIABLE, "4GiB")
    assert limit() == "4.0 GiB"
    monkeypatch.setenv(MEMORY_VARIABLE, "plenty")
    with pytest.raises(UsageError, match=r"CLIPSIEVE_MEMORY is 'plenty'.*CLIPSIEVE_MEMORY=8GB"):
        limit()


def test_what_does_not_fit_goes_to_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the memory is written below the system's temporary folder, never where the user stands, and removed."""
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv(MEMORY_VARIABLE, "40MB")
    with connect(FolderLocation(tmp_path)) as connection:
        assert not list(scratch.iterdir())
        connection.execute(
            "create temp table large as select range as i, md5(range::varchar) as m from range(2_000_000)"
        )
        (folder,) = scratch.iterdir()
        assert list(folder.iterdir())
    assert not list(scratch.iterdir())
    assert not list(here.iterdir())
