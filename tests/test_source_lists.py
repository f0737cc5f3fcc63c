"""A list of URIs is a source: what it names is read wherever it lies, and what it says beside is kept."""

import contextlib
import csv
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipsieve
from embed.sources import ReadFailed, Selection, open_source
from embed.sources import read as read_module
from embed.sources.http import HttpReader
from store.errors import ClipsieveError, SourceError, UnknownName, UsageError
from store.parts import read_part
from store.records import ErrorCode, SourceObject
from store.s3 import S3Options
from tests.embedding import command, embed, embed_command, outcomes, shelf
from tests.pictures import picture_bytes
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.servers.quiet_http import QuietHTTPServer
from tests.stores import files_of

Answer = tuple[int, Mapping[str, str], bytes]


@contextlib.contextmanager
def served(pages: Mapping[str, Answer], asked: list[str]) -> Iterator[str]:
    """Serve these pages, and remember each request; HEAD answers without the body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, headers, body = pages.get(self.path, (404, {}, b""))
            if self.command == "HEAD" and "no-head" in headers:
                status, headers, body = 405, {}, b""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            if "Content-Length" in headers:
                self.close_connection = True

        do_HEAD = do_GET  # noqa: N815  # the base class calls it so

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with QuietHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a CSV with the columns of its first row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def metadata(place: Path) -> list[dict[str, object]]:
    """What the store keeps of a list, without where it came from."""
    held = shelf(place)
    rows = read_part(held.location, held.parts("metadata")[-1]).to_pylist()
    return [
        {name: value for name, value in row.items() if name not in {"image_id", "source", "run_id"}} for row in rows
    ]


# Everywhere


def test_every_kind_of_place(s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """One list may name objects of S3, pages and files; each has one outcome, and a second run changes nothing."""
    s3.client().put_object(Bucket=bucket, Key="in/a b.jpg", Body=picture_bytes(1))
    (tmp_path / "c d.jpg").write_bytes(picture_bytes(2))
    pages: dict[str, Answer] = {"/e.jpg": (200, {"ETag": '"v1"'}, picture_bytes(3))}
    with served(pages, []) as url:
        uris = [
            f"s3://{bucket}/in/a b.jpg",
            f"s3://{bucket}/in/gone.jpg",
            f"{tmp_path}/c d.jpg",
            f"file://{tmp_path}/gone.jpg",
            f"{url}/e.jpg",
            f"{url}/gone.jpg",
            f"{url}/e.jpg",
            "gopher://x/y.jpg",
            "",
        ]
        listed = write_csv(tmp_path / "photos.csv", [{"url": uri, "caption": f"c{n}"} for n, uri in enumerate(uris)])
        first = embed(listed, tmp_path / "store", tiny_encoder)
        assert (first.listed, first.embedded, first.errors) == (7, 3, {"not_found": 4})
        before = files_of(tmp_path / "store")
        assert embed_command(listed, tmp_path / "store", tiny_encoder).stdout.startswith("Nothing to do: all 7 objects")
        assert files_of(tmp_path / "store") == before
    found = outcomes(tmp_path / "store")
    assert sorted(found.values()) == ["embedded"] * 3 + ["not_found"] * 4
    assert [row["caption"] for row in metadata(tmp_path / "store")] == ["c0", "c1", "c2", "c3", "c4", "c5", "c7"]


def test_list_of_what_is_there_already(s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A list of objects that their prefix has brought in embeds nothing, adds its columns, and counts nothing twice."""
    for number in range(3):
        s3.client().put_object(Bucket=bucket, Key=f"in/{number}.jpg", Body=picture_bytes(number))
    embed(f"s3://{bucket}/in/", tmp_path / "store", tiny_encoder)
    rows = pa.table({"uri": [f"s3://{bucket}/in/{n}.jpg" for n in (2, 0)], "stars": [5, 3], "tags": [["x"], []]})
    pq.write_table(rows, tmp_path / "stars.parquet")
    again = embed(tmp_path / "stars.parquet", tmp_path / "store", tiny_encoder)
    assert (again.listed, again.embedded) == (2, 0)
    assert len(outcomes(tmp_path / "store")) == 3
    assert metadata(tmp_path / "store") == [{"stars": 5, "tags": ["x"]}, {"stars": 3, "tags": []}]
    ids = {
        row["key"]: row["image_id"]
        for row in clipsieve.open(str(tmp_path / "store"))
        .sql("select key, image_id::varchar as image_id from current_images")
        .to_pylist()
    }
    held = shelf(tmp_path / "store")
    kept = read_part(held.location, held.parts("metadata")[-1])["image_id"].to_pylist()
    assert [str(one) for one in kept] == [ids["in/2.jpg"], ids["in/0.jpg"]]


def test_columns_of_lists_can_be_asked(tmp_path: Path, tiny_encoder: Path) -> None:
    """What lists say is in the view `metadata`, and in policies and a catalog as `list_…`; the newest row counts."""
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(picture_bytes(number))
    rows = [{"uri": str(tmp_path / f"{n}.jpg"), "stars": n, "source": f"s{n}", "width_px": "own"} for n in range(3)]
    place = tmp_path / "store"
    embed(write_csv(tmp_path / "all.csv", rows), place, tiny_encoder)
    asked = "select list_stars, list_source, list_width_px, width_px > 0 as w from candidates order by 1"
    session = clipsieve.open(str(place))
    one = [{"list_stars": n, "list_source": f"s{n}", "list_width_px": "own", "w": True} for n in range(3)]
    assert session.sql(asked).to_pylist() == one
    later = pa.table({"uri": [str(tmp_path / "1.jpg")], "stars": ["many"], 'odd "name"': [True]})
    pq.write_table(later, tmp_path / "some.parquet")
    embed(tmp_path / "some.parquet", place, tiny_encoder)
    asked_of_metadata = 'select stars, "odd ""name""" as odd, list_source from metadata order by all'
    found = session.sql(asked_of_metadata).to_pylist()
    assert found == [
        {"stars": "0", "odd": None, "list_source": "s0"},
        {"stars": "2", "odd": None, "list_source": "s2"},
        {"stars": "many", "odd": True, "list_source": None},
    ]
    assert session.select(remove=["list_stars = 'many'"]).removed == 1
    session.catalog(str(tmp_path / "a.duckdb"))
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as client:
        shown = client.execute("select list_stars from candidates order by 1").fetchall()
    assert shown == [("0",), ("2",), ("many",)]


def test_list_on_s3(s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A list may lie on S3 itself."""
    s3.client().put_object(Bucket=bucket, Key="a.jpg", Body=picture_bytes(1))
    s3.client().put_object(Bucket=bucket, Key="lists/x.csv", Body=f"uri\ns3://{bucket}/a.jpg\n".encode())
    assert embed(f"s3://{bucket}/lists/x.csv", tmp_path, tiny_encoder).embedded == 1


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_known_etags_save_a_request(s3: MotoServer, bucket: str, tmp_path: Path) -> None:
    """With columns etag and size nothing is asked while listing, and an object that is another by now is `changed`."""
    put = s3.client().put_object(Bucket=bucket, Key="a.jpg", Body=b"a")
    s3.client().put_object(Bucket=bucket, Key="b.jpg", Body=b"b")
    rows = [
        {"uri": f"s3://{bucket}/a.jpg", "etag": put["ETag"], "size": 1},
        {"uri": f"s3://{bucket}/b.jpg", "etag": "old", "size": 1},
    ]
    source = open_source(str(write_csv(tmp_path / "x.csv", rows)), S3Options())
    s3.faults.append(lambda method, _: (500, "InternalError") if method == "HEAD" else None)
    (page,) = source.pages()
    assert [(one.revision, one.size_bytes) for one in page] == [(put["ETag"].strip('"'), 1), ("old", 1)]
    assert source.fetch(page[0]).data == b"a"
    assert reason(source, page[1]) == ErrorCode.CHANGED


def test_sample_asks_of_the_sample_alone(tmp_path: Path) -> None:
    """A sample of a long list asks only about its own images."""
    asked: list[str] = []
    with served({f"/{n}": (200, {"ETag": f'"{n}"'}, b"x") for n in range(50)}, asked) as url:
        listed = write_csv(tmp_path / "x.csv", [{"uri": f"{url}/{n}", "n": n} for n in range(50)])
        source = open_source(str(listed), S3Options(), Selection(sample=5))
        (page,) = source.pages()
    assert sorted(asked) == sorted(f"HEAD /{one.key.rpartition('/')[2]}" for one in page)
    assert len(asked) == 5


# Words


def test_list_without_uris(tmp_path: Path) -> None:
    """A list that names nothing is refused with what it has, and --uri-column helps."""
    path = write_csv(tmp_path / "x.csv", [{"picture": "/a.jpg", "n": 1}])
    with pytest.raises(UsageError, match=r"no column that names images\. .*it has: picture, n\. .*--uri-column"):
        open_source(str(path), S3Options())
    assert open_source(str(path), S3Options(), uri_column="picture").uri == f"file://{path}"
    with pytest.raises(UnknownName, match="It has: picture, n"):
        open_source(str(path), S3Options(), uri_column="pictures")
    with pytest.raises(UsageError, match="--uri-column is for a list"):
        open_source(str(tmp_path), S3Options(), uri_column="picture")


@pytest.mark.parametrize(
    ("name", "data"), [("x.parquet", b"no parquet"), ("x.csv", b""), ("x.csv", b"uri\n\xff\xfe\n")]
)
def test_file_that_is_no_list(tmp_path: Path, name: str, data: bytes) -> None:
    """What cannot be read as a list is refused in one sentence, with nothing written."""
    (tmp_path / name).write_bytes(data)
    result = command("embed", tmp_path / name, "--store", tmp_path / "store", "--encoder", "ViT-B-32/x")
    assert result.exit_code in {1, 2}
    assert result.stderr.startswith("clipsieve: ")
    assert not (tmp_path / "store").exists()


def test_list_that_is_missing(tmp_path: Path) -> None:
    """A list that does not exist is named."""
    with pytest.raises(SourceError, match=r"The list .*x\.csv does not exist"):
        open_source(f"{tmp_path}/x.csv", S3Options())


def test_list_that_is_missing_on_s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is not on S3 is named too, and no folder waits for its copy."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ClipsieveError, match=rf"s3://{bucket}/lists/x\.csv"):
        open_source(f"s3://{bucket}/lists/x.csv", S3Options())
    assert list(tmp_path.iterdir()) == []


# HTTP


def page(uri: str, revision: str = "unversioned", size_bytes: int = 0) -> SourceObject:
    """A page as a list names it."""
    return SourceObject("list", uri, None, uri, None, revision, size_bytes, None)


def reason(source: object, wanted: SourceObject) -> ErrorCode | None:
    """Why it cannot be read."""
    with pytest.raises(ReadFailed) as caught:
        source.fetch(wanted)  # type: ignore[attr-defined]
    return caught.value.outcome.error_code


def test_what_a_server_says() -> None:
    """The revision is the etag, else the date, else none; a server that refuses HEAD is asked with GET."""
    date = {"Last-Modified": "Thu, 01 Jan 2026 12:00:00 GMT"}
    pages: dict[str, Answer] = {
        "/etag": (200, {"ETag": 'W/"e1"', **date}, b"abc"),
        "/date": (200, date, b"abc"),
        "/nothing": (200, {}, b"abc"),
        "/no-head": (200, {"no-head": "1", "ETag": '"e2"'}, b"abc"),
        "/bad-date": (200, {"Last-Modified": "yesterday"}, b"abc"),
    }
    reader = HttpReader(2)
    with served(pages, []) as url:
        said = {name: reader.look(url + name) for name in [*pages, "/gone"]}
        assert reader.fetch(page(f"{url}/date", "modified-20260101T120000Z")).data == b"abc"
        assert reader.fetch(page(f"{url}/nothing")).data == b"abc"
        assert reason(reader, page(f"{url}/etag", "e0")) == ErrorCode.CHANGED
    assert said.pop("/gone") is None
    assert {name: one.revision if one else None for name, one in said.items()} == {
        "/etag": "e1",
        "/date": "modified-20260101T120000Z",
        "/nothing": "unversioned",
        "/no-head": "e2",
        "/bad-date": "unversioned",
    }
    assert all(one and one.size_bytes == 3 for one in said.values())


def test_redirects_and_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect is followed, a circle of them is not; each refusal has its own reason."""
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda *_: None)
    pages: dict[str, Answer] = {
        "/moved": (302, {"Location": "/there"}, b""),
        "/there": (200, {}, b"abc"),
        "/circle": (302, {"Location": "/circle"}, b""),
        "/denied": (403, {}, b""),
        "/broken": (500, {}, b""),
        "/short": (200, {"Content-Length": "99"}, b"abc"),
    }
    reader = HttpReader(2)
    asked: list[str] = []
    with served(pages, asked) as url:
        assert reader.fetch(page(f"{url}/moved")).data == b"abc"
        reasons = {
            name: reason(reader, page(url + name)) for name in ("/circle", "/denied", "/broken", "/short", "/gone")
        }
    assert reasons == {
        "/circle": ErrorCode.READ_FAILED,
        "/denied": ErrorCode.FORBIDDEN,
        "/broken": ErrorCode.READ_FAILED,
        "/short": ErrorCode.READ_FAILED,
        "/gone": ErrorCode.NOT_FOUND,
    }
    assert asked.count("GET /broken") > 1
    assert asked.count("GET /circle") <= 7
    assert reason(reader, page("http://127.0.0.1:1/x")) == ErrorCode.READ_FAILED


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page over the limit is `too_large`, whatever it said of itself."""
    monkeypatch.setattr(read_module, "MAX_BYTES", 3)
    reader = HttpReader(2)
    with served({"/small": (200, {}, b"123"), "/large": (200, {}, b"1234")}, []) as url:
        assert reader.fetch(page(f"{url}/small")).data == b"123"
        assert reason(reader, page(f"{url}/large")) == ErrorCode.TOO_LARGE
