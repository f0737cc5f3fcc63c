"""The catalog: what any DuckDB client reads through it is what a session answers, also after the store has grown."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

import clipsieve
from query.session import Session
from store.detector import Detector
from store.errors import LocationError, RunExists, StoreDamaged
from store.layout import EncoderStore
from store.location import FolderLocation
from store.measurements import Measurement, Sighting, write_measurements
from store.parts import parquet_bytes, read_part
from store.prompts import add_prompts
from tests.commands import one_line, typed
from tests.servers import S3Server
from tests.stores import (
    HashTower,
    add_part,
    ask,
    broken,
    embedded,
    files_of,
    list_source,
    listed,
    new_store,
    put_scores,
    small_store,
    unit,
)

VIEWS = (
    *("images", "current_images", "candidates", "current_objects", "groups"),
    *("scores", "score_values", "thumbnails", "prompts", "measurements", "neighbors", "crowds", "metadata"),
)
COSINES = ("similarity(embedding, 'a dog')", "similarity_to_image(embedding, 's3://photos/in/03.jpg')")
QUERIES = [
    *(f"select columns(*)::varchar from {view} order by all" for view in VIEWS),  # noqa: S608  # our names
    *(f"select uri, ({cosine})::varchar from current_images order by all" for cosine in COSINES),  # noqa: S608
]

CLIENT = """
import json, sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as client:
    client.execute("set timezone = 'UTC'")
    print(json.dumps([client.execute(query).fetchall() for query in json.loads(sys.argv[2])]))
"""


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """A store with an odd name, with scores and a cached text."""
    store = small_store(tmp_path / "it's a [st]ore", pending=["later.jpg"])
    add_prompts(store, ["a dog"], unit("a dog")[None])
    return put_scores(store, {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)}, "mask": {}})


def read(catalog: Path, queries: list[str] = QUERIES) -> list[Any]:
    """What a client that knows nothing of clipsieve answers, in a process and a folder of its own."""
    asked = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT, str(catalog), json.dumps(queries)],
        cwd=catalog.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    answers: list[Any] = json.loads(asked.stdout)
    return answers


def answered(session: Session, queries: list[str] = QUERIES) -> list[Any]:
    """What the session answers, in the same form."""
    return [[list(row.values()) for row in session.sql(query).to_pylist()] for query in queries]


def test_a_client_reads_what_a_session_answers(store: EncoderStore, tmp_path: Path) -> None:
    """Every view and macro gives a plain DuckDB the same rows, from another folder, whatever the store's path holds."""
    place = tmp_path / "elsewhere" / "c.duckdb"
    written = ask(store).catalog(str(place))
    assert read(place) == answered(ask(store))
    assert written.place == str(place)
    assert written.concepts == ("mask", "people")
    assert {"measurements", "neighbors"} <= {*written.empty}
    assert {"images", "listings", "prompts", "scores", "thumbnails"}.isdisjoint(written.empty)
    assert [file.name for file in place.parent.iterdir()] == ["c.duckdb"]
    assert place.stat().st_size < 2_000_000


def test_it_has_every_view_that_a_session_has(store: EncoderStore, tmp_path: Path) -> None:
    """No view or macro of a session is missing from the catalog, those beneath the documented ones included."""
    place = tmp_path / "c.duckdb"
    written = ask(store).catalog(str(place))
    names = (
        "select view_name from duckdb_views() where not internal union select table_name from duckdb_tables() "
        "union select function_name from duckdb_functions() where not internal"
    )
    ours = {name for (name,) in answered(ask(store), [names])[0]}
    assert {name for (name,) in read(place, [names])[0]} == {*ours, "clipsieve_catalog"}
    assert {*written.views, *written.macros} <= ours


def test_what_is_written_later_is_seen(store: EncoderStore, tmp_path: Path) -> None:
    """New parts, retries, newer listings, scores and prompts are there without the catalog being made again."""
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    objects = [listed(f"in/{k:02}.jpg") for k in range(2, 12)]
    new, mended = listed("in/new.jpg"), listed("in/broken.jpg", size_bytes=7)
    list_source(store, [*objects, new, mended], number=2)
    add_part(store, [embedded(new, minute=5), embedded(mended, minute=5)], number=2)
    add_prompts(store, ["a cat"], unit("a cat")[None])
    put_scores(store, {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)} | {"in/new.jpg": 0.5}, "mask": {}})
    session = ask(store.refreshed())
    assert read(place) == answered(session)
    assert answered(session, ["select count(*) from scores"]) == [[[12]]]


def test_a_source_within_another_is_followed_too(tmp_path: Path) -> None:
    """Where a newer listing of a narrower source covers objects of an older one, the newer one decides, later too."""
    store = new_store(tmp_path / "store")
    list_source(store, [listed("in/a/1.jpg"), listed("in/b/2.jpg")])
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    list_source(store, [listed("in/a/3.jpg", source="s3://photos/in/a/")], number=2, source="s3://photos/in/a/")
    uris = ["select uri from current_objects order by uri"]
    assert read(place, uris) == [[["s3://photos/in/a/3.jpg"], ["s3://photos/in/b/2.jpg"]]]


def test_an_empty_store_has_empty_views(tmp_path: Path) -> None:
    """Where nothing has been listed or embedded, every view is there and empty, and the catalog says so."""
    place = tmp_path / "c.duckdb"
    written = ask(new_store(tmp_path / "store")).catalog(str(place))
    views = [f"select count(*) from {view}" for view in written.views]  # noqa: S608  # our names
    assert read(place, views) == [[[0]]] * len(views)
    measured = ("images", "listings", "thumbnails", "prompts")
    assert written.empty == (*measured, "scores", "measurements", "neighbors", "crowds", "metadata")


def test_other_scores_need_another_catalog(store: EncoderStore, tmp_path: Path) -> None:
    """Once another set of scores has taken the place of its own, they are missing there, and never those of another."""
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    ask(store, HashTower()).score("sunglasses", "people", "mask")
    with duckdb.connect(str(place), read_only=True) as client, pytest.raises(duckdb.Error, match="No files found"):
        client.execute("from scores").fetchall()
    assert len(read(place, ["select uri from images"])[0]) == 14
    ask(store).catalog(str(place))
    assert read(place) == answered(ask(store))


@pytest.mark.parametrize("older", [[0], [0, 1]])
def test_a_column_that_came_later_is_null_before(store: EncoderStore, tmp_path: Path, older: list[int]) -> None:
    """Parts of an earlier version lack columns that came later: these are null there, and not in parts to come."""
    for number in older:
        name = store.parts("images")[number]
        part = read_part(store.location, name).drop_columns(["pixels_sha256"])
        store.location.write(name, parquet_bytes(part))
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    assert read(place) == answered(ask(store.refreshed()))
    new = replace(embedded(listed("in/later.jpg")), pixels_sha256="of these pixels")
    add_part(store, [new], number=2)
    latest = ["select max(pixels_sha256) from images"]
    assert read(place, [*QUERIES, *latest]) == [*answered(ask(store.refreshed())), [["of these pixels"]]]


def test_detectors_answers_are_shown(store: EncoderStore, tmp_path: Path) -> None:
    """Answers of all detectors are in `measurements`, later ones too; their columns in `candidates` are as of now."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    one, other = (Detector(kind, "m") for kind in ("owlv2", "rekognition"))
    ids = [listed(f"in/{k:02}.jpg").image_id for k in range(2)]
    for detector in (one, other):
        row = Measurement(ids[0], "person", "m", now, Sighting(0.5))
        write_measurements(store, detector, "p1", "r1", [row])
    place = tmp_path / "c.duckdb"
    assert "measurements" not in ask(store.refreshed()).catalog(str(place)).empty
    assert read(place) == answered(ask(store.refreshed()))
    write_measurements(store, one, "p2", "r2", [Measurement(ids[1], "person", "m", now, Sighting(0.25))])
    queries = ["select count(*) from measurements", "select count(owlv2_person) from candidates"]
    assert read(place, queries) == [[[3]], [[1]]]
    assert answered(ask(store.refreshed()), queries) == [[[3]], [[2]]]


def test_the_store_is_only_read(store: EncoderStore, tmp_path: Path) -> None:
    """Writing a catalog, and asking it, changes no file of the store."""
    folder = Path(store.location.uri).parent
    before = files_of(folder)
    ask(store).catalog(str(tmp_path / "c.duckdb"))
    read(tmp_path / "c.duckdb")
    assert files_of(folder) == before


def test_what_is_no_catalog_of_ours_is_never_replaced(store: EncoderStore, tmp_path: Path) -> None:
    """A photo, another database, and a catalog that somebody keeps a table in stay as they are; ours is replaced."""
    photo, other, ours = (tmp_path / name for name in ("photo.duckdb", "other.duckdb", "ours.duckdb"))
    photo.write_bytes(b"a photo")
    with duckdb.connect(str(other)) as database:
        database.execute("create table precious as select 1 as i")
    for _ in range(2):
        ask(store).catalog(str(ours))
    for place in (photo, other):
        before = place.read_bytes()
        with pytest.raises(RunExists, match="no catalog of clipsieve"):
            ask(store).catalog(str(place))
        assert place.read_bytes() == before
    with duckdb.connect(str(ours)) as database:
        database.execute("create view precious as select 1 as i")
    with pytest.raises(RunExists, match="also holds precious"):
        ask(store).catalog(str(ours))
    with pytest.raises(LocationError):
        ask(store).catalog(str(photo / "c.duckdb"))
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == sorted(
        place.name for place in (photo, other, ours)
    )


def test_the_catalog_is_written_whole(store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails, the older catalog is still there, and nothing is left beside it."""
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    before = place.read_bytes()

    def fail(_self: FolderLocation, _folder: str) -> str:
        raise LocationError("The disk is full.")

    monkeypatch.setattr(FolderLocation, "public_glob", fail)
    with pytest.raises(LocationError, match="disk is full"):
        ask(store).catalog(str(place))
    monkeypatch.undo()
    store.location.write(store.parts("prompts")[0], b"no Parquet")
    with pytest.raises(StoreDamaged, match="clipsieve verify STORE"):
        ask(store).catalog(str(place))
    assert place.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_the_command_says_what_it_wrote(store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`clipsieve catalog STORE` names the file after the store, and says what it shows and how to open it."""
    monkeypatch.chdir(tmp_path)
    place = Path(store.location.uri).parent
    asked = typed("catalog", str(place))
    assert asked.exit_code == 0, asked.stderr
    assert f"Written to {tmp_path / place.name}.duckdb" in asked.stdout
    assert "mask, people" in asked.stdout
    assert "duckdb -readonly" in asked.stdout
    assert read(tmp_path / f"{place.name}.duckdb", ["select count(*) from images"]) == [[[14]]]
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    refused = typed("catalog", str(place), "--to", "photo.jpg")
    assert refused.exit_code == 1
    assert "Give --to another file" in one_line(refused)


@pytest.mark.parametrize("s3", ["moto", "rclone"], indirect=True)
def test_a_store_on_s3_is_named_as_s3(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """The views of a store on S3 name `s3://…`, which a client with S3 of its own reads; no credential is written."""
    local = put_scores(small_store(tmp_path / "local"), {"people": {"in/01.jpg": 0.5}})
    root = Path(local.location.uri).parent
    for file in (path for path in root.rglob("*") if path.is_file()):
        s3.client().upload_file(str(file), bucket, f"a [odd] prefix/{file.relative_to(root)}")
    session = clipsieve.open(f"s3://{bucket}/a [odd] prefix")
    query = "select uri, status, people from current_images left join scores using (uri) order by all"
    place = tmp_path / "c.duckdb"
    assert session.catalog(str(place)).on_s3
    with duckdb.connect(str(place), read_only=True) as client:
        ((text,),) = client.execute("select sql from duckdb_views() where view_name = 'image_rows'").fetchall()
        assert f"'s3://{bucket}/a [[]odd] prefix/encoder=" in text
        session.store.location.attach_public(client)
        assert client.execute(query).fetchall() == [tuple(row) for row in answered(session, [query])[0]]
    for secret in (s3.secret_key, s3.access_key):
        assert secret.encode() not in place.read_bytes()
    assert "httpfs" in typed("catalog", f"s3://{bucket}/a [odd] prefix", "--to", str(place)).stdout


def test_a_retry_is_seen(tmp_path: Path) -> None:
    """A retry that succeeded replaces the failure also where it comes after the catalog."""
    store = new_store(tmp_path / "store")
    image = listed("in/a.jpg")
    list_source(store, [image])
    add_part(store, [broken(image)])
    place = tmp_path / "c.duckdb"
    ask(store).catalog(str(place))
    add_part(store, [embedded(image, minute=3)], number=2)
    assert read(place, ["select status from images"]) == [[["embedded"]]]
