"""A source lists everything it holds, and one object that cannot be read is a row with its reason, never the end."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.sources import ReadFailed, Source, open_source, refuse_overlap
from embed.sources import read as read_module
from embed.sources.folder import PAGE_OBJECTS, FolderSource
from store.errors import LocationError, SourceError, UsageError
from store.location import FolderLocation
from store.records import ErrorCode, SourceObject
from store.s3 import S3Options
from tests.embedding import retry_at_once, small_pages
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.servers.quiet_http import QuietHTTPServer

ODD_KEYS = ["a b.jpg", "50%25 %.jpg", "new\nline.jpg", "ü/日本.jpg", "plus+&=?#.jpg", " lead.jpg"]
UNHOLDABLE = ["two//slashes.jpg", "dir/"]  # by a server whose objects are files

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


def everything(source: Source) -> list[SourceObject]:
    """Every object of every page."""
    return [one for page in source.pages() for one in page]


def reason(source: Source, wanted: SourceObject) -> ErrorCode | None:
    """Why an object cannot be read."""
    with pytest.raises(ReadFailed) as caught:
        source.fetch(wanted)
    return caught.value.outcome.error_code


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    retry_at_once(monkeypatch)


# Folders

names = st.binary(min_size=1, max_size=20).filter(lambda name: name not in {b".", b".."} and not {0, 0x2F} & set(name))


@given(keys=st.lists(st.lists(names, min_size=1, max_size=3).map(tuple), max_size=6, unique=True), content=st.binary())
@settings(max_examples=25)
def test_any_name_is_listed_and_read(
    tmp_path_factory: pytest.TempPathFactory, keys: list[tuple[bytes, ...]], content: bytes
) -> None:
    """Every file below a folder is listed once and read back, whatever bytes its name is made of."""
    root = os.fsencode(tmp_path_factory.mktemp("names"))
    written = set()
    for key in keys:
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):  # one key is another's folder
            os.makedirs(os.path.join(root, *key[:-1]), exist_ok=True)  # noqa: PTH103,PTH118  # bytes
            with open(os.path.join(root, *key), "wb") as file:  # noqa: PTH118,PTH123  # bytes
                file.write(content)
            written.add(key)
    source = FolderSource(Path(os.fsdecode(root)))
    found = everything(source)
    assert len({one.uri for one in found}) == len({one.image_id for one in found}) == len(found) == len(written)
    assert {one.key.encode() for one in found} >= {b"/".join(key) for key in written if all(map(_is_utf8, key))}
    assert all(one.uri.startswith(source.uri) and one.uri.isascii() for one in found)
    assert all(source.fetch(one).data == content for one in found)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_pages_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large folder comes in pages of a thousand, in the order of names, whatever the order on disk."""
    for number in range(PAGE_OBJECTS + 5):
        (tmp_path / f"{number:04}").touch()
    pages = list(FolderSource(tmp_path).pages())
    assert [len(page) for page in pages] == [PAGE_OBJECTS, 5]
    assert [one.key for page in pages for one in page] == [f"{number:04}" for number in range(PAGE_OBJECTS + 5)]


def test_only_files_are_objects(tmp_path: Path) -> None:
    """Links to files are objects; pipes, links to nothing and empty folders are none."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"a")
    (tmp_path / "in" / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "in" / "nowhere.jpg").symlink_to("gone.jpg")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    source = FolderSource(tmp_path)
    assert [one.key for one in everything(source)] == ["in/a.jpg", "in/b.jpg"]
    assert source.fetch(everything(source)[1]).data == b"a"


def test_one_folder_one_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is the same source however its path is written, so its images keep their ids."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    ways = ["real", "./real/", "link", f"{tmp_path}/real/../real", "~/real"]
    listings = [everything(open_source(way, S3Options())) for way in ways]
    assert all(listing == listings[0] for listing in listings)


def test_file_changed_or_gone_between_listing_and_reading(tmp_path: Path) -> None:
    """A file that was replaced since the listing is `changed`, one that was deleted is `not_found`."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"before")
    source = FolderSource(tmp_path)
    first, second = everything(source)
    (tmp_path / "a").write_bytes(b"afterwards")
    (tmp_path / "b").unlink()
    assert (reason(source, first), reason(source, second)) == (ErrorCode.CHANGED, ErrorCode.NOT_FOUND)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_and_folder_without_permission(tmp_path: Path) -> None:
    """A file that may not be read is `forbidden`; a folder that may not be listed ends the listing by name."""
    (tmp_path / "a").touch()
    source = FolderSource(tmp_path)
    (one,) = everything(source)
    (tmp_path / "a").chmod(0)
    assert reason(source, one) == ErrorCode.FORBIDDEN
    (tmp_path / "closed").mkdir(0)
    with pytest.raises(SourceError, match=r"Cannot list .*closed"):
        everything(source)


def test_object_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object over the limit of bytes is `too_large` and none of it is read."""
    monkeypatch.setattr(read_module, "MAX_BYTES", 3)
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"1234")
    source = FolderSource(tmp_path)
    small, large = everything(source)
    (tmp_path / "b").unlink()
    assert source.fetch(small).data == b"123"
    assert reason(source, large) == ErrorCode.TOO_LARGE


# Words


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("gs://bucket/x", UsageError, "is no source that clipsieve reads"),
        ("nowhere/at all", SourceError, "The source nowhere/at all does not exist"),
        (__file__, SourceError, "is a file"),
        ("s3://", LocationError, "names no bucket"),
        ("s3:///prefix", LocationError, "names no bucket"),
    ],
)
def test_words_that_are_no_source(text: str, kind: type[Exception], said: str) -> None:
    """What is no source is refused in one sentence."""
    with pytest.raises(kind, match=said):
        open_source(text, S3Options(region="us-east-1"))


@pytest.mark.parametrize(
    ("prefix", "uri"),
    [
        ("s3://b", "s3://b/"),
        ("s3://b/", "s3://b/"),
        ("s3://b/train", "s3://b/train/"),
        ("s3://b/train/", "s3://b/train/"),
        ("s3://b//x", "s3://b//x/"),
        ("s3://b/a b%20/", "s3://b/a b%20/"),
    ],
)
def test_prefix_is_a_folder(prefix: str, uri: str) -> None:
    """The last part of a prefix is a folder with or without its slash, and is taken as it is."""
    assert open_source(prefix, S3Options(region="us-east-1")).uri == uri


@pytest.mark.parametrize(
    ("source", "store", "inside"),
    [
        ("s3://b/photos", "s3://b/photos", True),
        ("s3://b/photos/", "s3://b/photos/store", True),
        ("s3://b", "s3://b/store", True),
        ("s3://b/photos", "s3://b/photos-store", False),
        ("s3://b/photos", "s3://b", False),
        ("s3://b/photos", "s3://c/photos", False),
        ("s3://b/photos", "{here}/store", False),
        ("{here}/photos", "{here}/photos", True),
        ("{here}/photos", "{here}/photos/deep/store", True),
        ("{here}/photos", "{here}/link/store", True),
        ("{here}/link", "{here}/photos/store", True),
        ("{here}/photos", "{here}/photos-store", False),
        ("{here}/photos", "{here}", False),
        ("{here}/photos", "s3://b/photos", False),
    ],
)
def test_store_inside_its_source(tmp_path: Path, source: str, store: str, inside: bool) -> None:  # noqa: FBT001
    """A store inside the source, however it is written, is refused before anything is read."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    opened = open_source(source.format(here=tmp_path), S3Options(region="us-east-1"))
    place = store.format(here=tmp_path)
    uri = place if place.startswith("s3://") else FolderLocation(Path(place)).uri
    with pytest.raises(UsageError, match="lies inside the source") if inside else contextlib.nullcontext():
        refuse_overlap(opened, uri)


# S3


def test_odd_keys(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a prefix is listed as it is, over as many pages as it takes, and read back; no other key is."""
    small_pages(monkeypatch, 3)
    keys = [*ODD_KEYS, *(UNHOLDABLE if s3.name == "moto" else ())]
    for key in [*(f"in/{key}" for key in keys), "in-side.jpg", "into/b.jpg"]:
        s3.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    source = open_source(f"s3://{bucket}/in", S3Options())
    found = everything(source)
    assert {one.key for one in found} == {f"in/{key}" for key in keys}
    assert len(found) == len(keys) > 2 * 3 - 1
    for one in found:
        assert (one.uri, one.bucket, one.source) == (f"s3://{bucket}/{one.key}", bucket, f"s3://{bucket}/in/")
        assert one.revision == one.etag
        assert source.fetch(one).data == one.key.encode()
        assert one.size_bytes == len(one.key.encode())


@only_moto
def test_key_with_a_leading_slash(s3: MotoServer, bucket: str) -> None:
    """A key that begins with a slash is listed, and is a source of its own."""
    s3.client().put_object(Bucket=bucket, Key="/in/a.jpg", Body=b"a")
    for prefix in ("", "/in", "/"):
        source = open_source(f"s3://{bucket}/{prefix}", S3Options())
        assert [source.fetch(one).data for one in everything(source)] == [b"a"]


def test_object_changed_or_gone(s3: S3Server, bucket: str) -> None:
    """An object that was replaced since the listing is `changed`, one that was deleted is `not_found`."""
    client = s3.client()
    for key in ("a", "b"):
        client.put_object(Bucket=bucket, Key=key, Body=b"before")
    source = open_source(f"s3://{bucket}", S3Options())
    first, second = everything(source)
    client.put_object(Bucket=bucket, Key="a", Body=b"after")
    client.delete_object(Bucket=bucket, Key="b")
    assert (reason(source, first), reason(source, second)) == (ErrorCode.CHANGED, ErrorCode.NOT_FOUND)


@only_moto
def test_object_that_is_kept_back(s3: MotoServer, bucket: str, no_waiting: None) -> None:
    """Archived, denied and persistently failing objects have each their own reason; what is well is read."""
    s3.client().put_object(Bucket=bucket, Key="archived", Body=b"x", StorageClass="GLACIER")
    for key in ("denied", "slow", "well"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    answers = {f"/{bucket}/denied": (403, "AccessDenied"), f"/{bucket}/slow": (503, "SlowDown")}
    s3.faults.append(lambda method, path: answers.get(path) if method == "GET" else None)
    source = open_source(f"s3://{bucket}", S3Options())
    archived, denied, slow, well = everything(source)
    assert reason(source, archived) == ErrorCode.ARCHIVED
    assert reason(source, denied) == ErrorCode.FORBIDDEN
    assert reason(source, slow) == ErrorCode.READ_FAILED
    assert source.fetch(well).data == b"x"


@only_moto
def test_version_is_recorded(s3: MotoServer, bucket: str) -> None:
    """In a bucket that keeps versions, the version that was read is known."""
    client = s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key="a", Body=b"x")["VersionId"]
    source = open_source(f"s3://{bucket}", S3Options())
    assert source.fetch(everything(source)[0]).version_id == version


def test_missing_bucket(s3: S3Server) -> None:
    """A bucket that does not exist is one sentence with advice."""
    with pytest.raises(SourceError, match=r"^Cannot list s3://no-such-bucket/: NoSuchBucket.*Check the bucket's name"):
        everything(open_source("s3://no-such-bucket", S3Options()))


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the sentence says how to give them."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(SourceError, match=r"no AWS credentials were found\. Set AWS_ACCESS_KEY_ID"):
        everything(open_source("s3://bucket/", S3Options(region="us-east-1")))


def test_wrong_secret(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong secret is named as the fault, and neither secret stands in the message."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quite-another-secret")
    with pytest.raises(SourceError, match=r"SignatureDoesNotMatch.*check AWS_SECRET_ACCESS_KEY") as caught:
        everything(open_source(f"s3://{bucket}", S3Options()))
    assert "quite-another" not in str(caught.value)
    assert s3.secret_key not in str(caught.value)


# A server that hangs up

CONTENT = bytes(range(256)) * 400


@contextlib.contextmanager
def _server_that_hangs_up(times: int) -> Iterator[str]:
    """Serve one object; the first `times` answers end in the middle of the body."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("ETag", '"e1"')
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if len(asked) > times else CONTENT[: len(CONTENT) // 2])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with QuietHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_body_that_breaks_off(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that ends early is asked for again, twice at most; half an object is never taken for a whole one."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with _server_that_hangs_up(times) as url:
        source = open_source("s3://b/", S3Options(endpoint_url=url, region="us-east-1"))
        wanted = _object(source.uri)
        if times < 3:
            assert source.fetch(wanted).data == CONTENT
        else:
            assert reason(source, wanted) == ErrorCode.READ_FAILED


def _object(source: str) -> SourceObject:
    from tests.stores import NOON

    return SourceObject(source, f"{source}a.jpg", "b", "a.jpg", "e1", "e1", len(CONTENT), NOON)
