"""`clipsieve sql` reads: whatever is typed, no file of the store changes and none appears."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from query.session import Session
from store.errors import QueryRefused
from tests.stores import HashTower, ask, files_of, small_store

WRITES = [
    "copy (select 1) to 'written.csv'",
    "copy images to '{store}/written.parquet'",
    "COPY (FROM images) TO 'written.json'",
    "explain copy (select 1) to 'written.csv'",
    "explain analyze copy (select 1) to 'written.csv'",
    "EXPLAIN  ANALYZE\ncopy (select 1) to 'written.csv'",
    "explain (analyze) copy (select 1) to 'written.csv'",
    "explain (format json) copy (select 1) to 'written.csv'",
    "explain (analyze, format json) copy (select 1) to 'written.csv'",
    "/* */ explain analyze copy (select 1) to 'written.csv'",
    "-- explain \nexplain analyze copy (select 1) to 'written.csv'",
    "explain/**/analyze copy (select 1) to 'written.csv'",
    "explain/* explain */analyze copy (select 1) to 'written.csv'",
    "explain -- explain \nanalyze copy (select 1) to 'written.csv'",
    "/* explain select */ explain analyze copy (select 1) to 'written.csv'",
    "explain analyze /* select 1 */ copy (select 1) to 'written.csv'",
    "with x as (copy (select 1) to 'written.csv') select 1",
    "with x as materialized (copy images to 'written.csv') from x",
    "explain analyze with x as (copy (select 1) to 'written.csv') select 1",
    "describe with x as (copy (select 1) to 'written.csv') select 1",
    "select * from (with x as (copy (select 1) to 'written.csv') select 1)",
    "with x as (delete from superseded returning *) select * from x",
    "with x as (insert into superseded select image_id, run_id from images returning *) select * from x",
    "with x as (update superseded set run_id = '' returning *) select * from x",
    "insert into superseded select image_id, run_id from images",
    "delete from superseded",
    "update superseded set run_id = ''",
    "drop view images",
    "create table t as select 1",
    "create or replace view images as select 1",
    "attach 'written.db'",
    "attach 'written.db' as other; create table other.t (i int)",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "reset threads",
    "use memory",
    "pragma enable_profiling",
    "pragma version",
    "call enable_logging('QueryLog')",
    "call pragma_version()",
    "export database 'written'",
    "import database 'written'",
    "checkpoint",
    "vacuum",
    "begin",
    "prepare p as select 1",
    "select 1; select 2",
    "select 1; copy (select 1) to 'written.csv'",
    "",
    " ; ",
    "-- nothing",
    "selec 1",
    "select * from nothing",
    # SELECTs that do more than read
    "select * from enable_logging(level = 'trace', storage = 'file', storage_config = {{'path': 'written'}})",
    "from enable_logging(storage = 'file', storage_path = 'written'), (select write_log('x', level := 'error'))",
    "select * from (from ENABLE_LOGGING('QueryLog'))",
    "from \"enable_logging\"('QueryLog')",
    "from system.main.enable_logging('QueryLog')",
    "explain analyze from enable_logging('QueryLog')",
    "describe from enable_logging('QueryLog')",
    "with x as (from enable_logging('QueryLog')) from x",
    "select * from disable_logging()",
    "select write_log('x')",
    "select 'x'.write_log()",
    "select count(*) filter (write_log('x') is null) from images",
    "from images where uri in (select write_log(uri) from images)",
    "select * from truncate_duckdb_logs()",
    "select * from enable_profiling(save_location := 'written.json', format := 'json')",
    "select * from checkpoint()",
    "select * from force_checkpoint()",
    "from query('from enable_logging(''QueryLog'')')",
    "from json_execute_serialized_sql(json_serialize_sql('select write_log(''x'')'))",
    "from arrow_scan(0::pointer, 0::pointer, 0::pointer)",
    "from seq_scan()",
]

READS = [
    ("select count(*) as n from images", [{"n": 14}]),
    ("  select 1 as n;  ", [{"n": 1}]),
    ("/* said */ select 1 as n -- this", [{"n": 1}]),
    ("with a as (select 1 as n), b as (from a) select n + 1 as n from b", [{"n": 2}]),
    ("with recursive r(n) as (select 1 union select n + 1 from r where n < 3) select max(n) as n from r", [{"n": 3}]),
    ("from images select count(*) as n where status = 'failed'", [{"n": 1}]),
    ("values (1, 'a')", [{"col0": 1, "col1": "a"}]),
    ("select 1 as n union all select 2 order by n", [{"n": 1}, {"n": 2}]),
    ("select count(*) as n from scores where people between 0 and 1", [{"n": 12}]),
    ("select key from images where key like '%copy (select%' or key = 'write_log('", []),
    ("select sum(size_bytes) as n from images", [{"n": 13_007}]),
    ("select 1 as a, 2 as a, 3 as a_1", [{"a": 1, "a_1": 2, "a_1_1": 3}]),
    ("pivot images on status in ('failed', 'embedded') using count(*) group by bucket",
     [{"bucket": "photos", "failed": 1, "embedded": 12}]),
]  # fmt: skip

READS_OF_THE_SHAPE = [
    ("describe images", "column_name"),
    ("describe select 1", "column_name"),
    ("show tables", "name"),
    ("show all tables", "name"),
    ("summarize images", "column_name"),
    ("table images", "uri"),
    ("explain select 1", "explain_value"),
    ("EXPLAIN ANALYZE select count(*) from images", "explain_value"),
    ("explain (format json) select 1", "explain_value"),
    ("explain (analyze, format json) from images", "explain_value"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds nothing but a scored store. No test here changes it, which is what they prove."""
    folder = tmp_path_factory.mktemp("readonly")
    ask(small_store(folder / "store"), HashTower()).score("people")
    return folder


@pytest.fixture(scope="module")
def session(place: Path) -> Iterator[Session]:
    """The store, opened by a user who stands beside it, for all queries: what one of them broke others would meet."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        with closing(Session.open("store", lambda _encoder: HashTower())) as opened:
            yield opened


@pytest.fixture(autouse=True)
def _nothing_written(place: Path) -> Iterator[None]:
    """Every file has the bytes that it had, and there is no new one, nor a folder, beside the store or in it."""
    before, folders = files_of(place), {parent for parent, _, _ in os.walk(place)}
    yield
    assert files_of(place) == before
    assert {parent for parent, _, _ in os.walk(place)} == folders


@pytest.mark.parametrize("query", WRITES)
def test_what_does_not_read_is_refused(session: Session, place: Path, query: str) -> None:
    """A query that could write, load, set or log, or is none at all, is refused, however it is dressed."""
    with pytest.raises(QueryRefused):
        session.sql(query.format(store=place / "store"))


@pytest.mark.parametrize(("query", "expected"), READS)
def test_what_reads_is_answered(session: Session, query: str, expected: list[dict[str, object]]) -> None:
    """Queries that read are answered as DuckDB answers them; a sum is a number, and no column hides another."""
    assert session.sql(query).to_pylist() == expected


@pytest.mark.parametrize(("query", "column"), READS_OF_THE_SHAPE)
def test_what_describes_is_answered(session: Session, query: str, column: str) -> None:
    """DESCRIBE, SHOW, SUMMARIZE and EXPLAIN of a query are reading too."""
    table = session.sql(query)
    assert column in table.column_names
    assert table.num_rows > 0


def test_a_refusal_says_what_to_do(session: Session) -> None:
    """A refused COPY is told what it is and how an answer is kept instead."""
    with pytest.raises(QueryRefused, match=r"This is a COPY statement; .* --format csv > answer\.csv"):
        session.sql("copy images to 'written.csv'")


def test_a_sum_beyond_64_bits_is_exact(session: Session) -> None:
    """A whole number that no 64 bits hold comes as an exact decimal."""
    (row,) = session.sql(
        "select 9223372036854775807::hugeint + 1 as n, -170141183460469231731687303715884105727 as m"
    ).to_pylist()
    assert (int(row["n"]), int(row["m"])) == (2**63, -(2**127) + 1)


def test_variables_of_python_are_no_tables(session: Session) -> None:
    """A name in a query means a view, never a variable of the program that runs it."""
    with pytest.raises(QueryRefused, match="does not exist"):
        session.sql("select * from table_of_the_caller")


table_of_the_caller = [{"n": 1}]


@pytest.mark.parametrize("view", ["images", "current_images"])
def test_vectors_can_be_asked_where_many_images_failed(tmp_path: Path, view: str) -> None:
    """`list_inner_product(embedding, ...)` works over the embedded images of a store in which most images failed."""
    from tests.stores import DIM, add_part, broken, embedded, list_source, listed, new_store

    store = new_store(tmp_path / "store")
    objects = [listed(f"in/{k:04}.jpg") for k in range(3000)]
    list_source(store, objects)
    rows = [embedded(one, words="one") if k % 3 == 0 else broken(one) for k, one in enumerate(objects[:2900])]
    for part in range(3):
        add_part(store, rows[part::3], part=part)
    add_part(store, [embedded(one, words="two", minute=9) for one in objects[1:500:3]], number=2)
    vector = f"[{', '.join(['0.5'] * DIM)}]::float[]"
    (row,) = (
        ask(store)
        .sql(
            f"select count(*) as n, min(list_inner_product(embedding, embedding)) as least, "  # noqa: S608
            f"count(list_inner_product(embedding, {vector})) as products from {view} where status = 'embedded'"
        )
        .to_pylist()
    )
    assert (row["n"], row["products"]) == (967 + 167, 967 + 167)
    assert row["least"] == pytest.approx(1, abs=2e-3)
    found = ask(store).sql(
        f"select list_inner_product(embedding, {vector}) as s from {view} where status = 'embedded' order by s limit 5"  # noqa: S608
    )
    assert found.num_rows == 5
