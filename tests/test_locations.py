"""A folder and an S3 prefix keep the same promises: whole files or none, and nothing replaced by `create`."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store.errors import LocationError, RunExists
from store.layout import locate
from store.location import LEFTOVER_AGE_S, FolderLocation, Location
from store.parts import parquet_bytes, read_part
from store.s3 import S3Options
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.stores import files_of


@pytest.fixture(params=["folder", "moto", "rclone"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server | None]:
    """None, then each S3 server with an empty bucket `locations`."""
    if request.param == "folder":
        yield None
        return
    found: S3Server = request.getfixturevalue(f"{request.param}_s3")
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    client = found.client()
    client.create_bucket(Bucket="locations")
    yield found
    for one in client.list_objects_v2(Bucket="locations").get("Contents", []):
        client.delete_object(Bucket="locations", Key=one["Key"])
    client.delete_bucket(Bucket="locations")


@pytest.fixture
def location(server: S3Server | None, tmp_path: Path) -> Location:
    """An empty folder, then an empty prefix on each S3 server."""
    return locate(f"{'s3://locations' if server else tmp_path}/a b/%41*?[x]/", S3Options())


def test_what_is_written_is_there(location: Location, tmp_path: Path) -> None:
    """Bytes and files come back as written, replace what was there, and are listed with their sizes."""
    (tmp_path / "file").write_bytes(b"from a file")
    assert (location.read("a"), location.files(), location.folders()) == (None, [], [])
    location.write("a", b"first")
    location.write("a", b"second")
    location.write("deep/er/b", tmp_path / "file")
    location.child("deep").write("c", b"")
    assert (location.read("a"), location.read("deep/er/b"), location.read("deep/c")) == (b"second", b"from a file", b"")
    assert [(e.name, e.size_bytes) for e in location.files()] == [("a", 6), ("deep/c", 0), ("deep/er/b", 11)]
    assert [e.name for e in location.files("deep")] == ["deep/c", "deep/er/b"]
    assert [e.name for e in location.child("deep").files()] == ["c", "er/b"]
    assert location.folders() == ["deep"]
    location.remove("a")
    location.remove("a")
    assert location.read("a") is None
    assert location.child("deep").uri == f"{location.uri}/deep"


def test_create_never_replaces(location: Location) -> None:
    """Of two that create a file the first wins, and the second learns of it."""
    assert location.create("x/a.json", b"first")
    assert not location.create("x/a.json", b"second")
    assert location.read("x/a.json") == b"first"
    assert [e.name for e in location.files()] == ["x/a.json"]


def test_created_by_many_at_once(location: Location, server: S3Server | None) -> None:
    """Of many that create a file at the same moment exactly one wins, and its bytes stand there."""
    if server and server.name == "rclone":
        pytest.skip("rclone ignores conditional writes")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda k: location.create("a", str(k).encode()), range(16)))
    assert won.count(True) == 1
    assert location.read("a") == str(won.index(True)).encode()


def test_random_access(location: Location) -> None:
    """A file can be read from its middle, by pyarrow and by DuckDB, under whatever path."""
    table = pa.table({"x": range(50_000)})
    location.write("p/t.parquet", parquet_bytes(table))
    with location.open("p/t.parquet") as file:
        file.seek(-4, 2)
        assert file.read() == b"PAR1"
        assert pq.ParquetFile(file).metadata.num_rows == 50_000
    assert read_part(location, "p/t.parquet").equals(table)
    with duckdb.connect() as connection:
        location.attach(connection)
        rows = connection.read_parquet([location.duckdb_path("p/t.parquet")])
        assert rows.sum("x").fetchall() == [(sum(range(50_000)),)]


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_file_is_asked_about_once(s3: MotoServer, bucket: str) -> None:
    """However many queries a connection answers, S3 is asked once how large a file is: its files never change."""
    location = locate(f"s3://{bucket}/p", S3Options())
    location.write("t.parquet", parquet_bytes(pa.table({"x": range(9)})))
    with duckdb.connect() as connection:
        location.attach(connection)
        for _ in range(2):
            assert connection.read_parquet([location.duckdb_path("t.parquet")]).sum("x").fetchall() == [(36,)]
    assert [request.path for request in s3.requests if request.method == "HEAD"] == [f"/{bucket}/p/t.parquet"]


def test_missing_file(location: Location) -> None:
    """Opening a file that is not there is an error that names it."""
    with pytest.raises(LocationError, match=r"Cannot read .*gone"):
        location.open("gone")


def test_stage(location: Location) -> None:
    """Staged files appear together when the block ends well, never after an error, and never over others."""
    run = location.child("run")

    def fill(*, well: bool) -> None:
        with run.stage("last") as folder:
            (folder / "last").write_bytes(b"2")
            (folder / "first").write_bytes(b"1")
            assert run.files() == []
            if not well:
                raise KeyError

    with pytest.raises(KeyError):
        fill(well=False)
    assert run.files() == []
    fill(well=True)
    assert [(e.name, run.read(e.name)) for e in run.files()] == [("first", b"1"), ("last", b"2")]
    with pytest.raises(RunExists, match="already holds something"):
        fill(well=True)


def test_place_that_is_a_file(tmp_path: Path) -> None:
    """A store below a file is refused in a sentence, and nothing is left behind."""
    (tmp_path / "file").write_bytes(b"x")
    location = FolderLocation(tmp_path / "file")
    assert (location.read("a"), location.files(), location.folders()) == (None, [], [])
    for write in (location.write, location.create):
        with pytest.raises(LocationError, match=f"Cannot write {tmp_path}/file/a: "):
            write("a", b"x")
    assert files_of(tmp_path) == {"file": b"x"}


def test_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is a sentence; the old file stays, and no half of a new one does."""
    location = FolderLocation(tmp_path)
    location.write("a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for name in ("a", "b"):
        with pytest.raises(LocationError, match=r"No space left on device.*Free some space"):
            location.write(name, b"new")
    assert files_of(tmp_path) == {"a": b"old"}


def test_leftovers_of_killed_jobs(tmp_path: Path) -> None:
    """Only temporary files that nobody has written to for an hour are removed: younger ones may be another job's."""
    location = FolderLocation(tmp_path)
    location.write("images/a.parquet", b"whole")
    for name, age_s in ((".b.parquet.0badf00d.tmp", LEFTOVER_AGE_S + 60), (".c.parquet.0badf00d.tmp", 60)):
        path = tmp_path / "images" / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    location.remove_leftovers()
    assert sorted(files_of(tmp_path)) == ["images/.c.parquet.0badf00d.tmp", "images/a.parquet"]
    assert [entry.name for entry in location.files()] == ["images/a.parquet"]
