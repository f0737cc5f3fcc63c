"""Pass 1 on S3: source and store behind a real protocol server, and what is done about its refusals."""

import gc
import re
import resource
from pathlib import Path

import boto3
import pytest

import clipsieve
from embed.refusals import REFUSED_AT_FIRST
from embed.sources.s3 import S3Source
from store.layout import Store, locate
from store.s3 import S3Options
from store.verify import verify
from tests.embedding import all_rows, command, embed, embed_command, outcomes, retry_at_once, shelf, small_pages
from tests.pictures import picture_bytes
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer

ODD_KEYS = ["a b.jpg", "50%25 %.jpg", "new\nline.jpg", "ü/日本.jpg", "plus+&=?#.jpg", " lead.jpg", "q'\".jpg", "*?[x]"]
ONLY_ON_MOTO = ["two//slashes.jpg", "/leading.jpg", "./dot.jpg"]

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    retry_at_once(monkeypatch)


def put_pictures(s3: S3Server, bucket: str, keys: list[str]) -> None:
    """Put a picture of its own under each key."""
    client = s3.client()
    for number, key in enumerate(keys):
        client.put_object(Bucket=bucket, Key=key, Body=picture_bytes(number % 30))


def files_at(place: str) -> dict[str, bytes | None]:
    """Every file of a store on S3 with its bytes."""
    location = locate(place, S3Options())
    return {entry.name: location.read(entry.name) for entry in location.files()}


@pytest.fixture(params=["disk", "S3"])
def place(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    """Where the store will be: on disk, then on S3."""
    return f"s3://{bucket}/store" if request.param == "S3" else str(tmp_path / "store")


def test_whole_path(s3: S3Server, bucket: str, place: str, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object of a prefix, whatever its key and page, is embedded once; a second run changes nothing."""
    small_pages(monkeypatch, 4)
    keys = [f"in/{key}" for key in [*ODD_KEYS, *(ONLY_ON_MOTO if s3.name == "moto" else ())]]
    put_pictures(s3, bucket, [*keys, "in-side.jpg"])
    s3.client().put_object(Bucket=bucket, Key="in/note.txt", Body=b"words")
    first = embed(f"s3://{bucket}/in", place, tiny_encoder, part_rows=5)
    assert (first.listed, first.embedded, first.not_images) == (len(keys) + 1, len(keys), 1)
    assert outcomes(place) == dict.fromkeys(keys, "embedded") | {"in/note.txt": "not_an_image"}
    before = files_at(place)
    again = embed_command(f"s3://{bucket}/in/", place, tiny_encoder)
    assert again.stdout.startswith(f"Nothing to do: all {len(keys) + 1} objects of s3://{bucket}/in/ are in the store.")
    assert files_at(place) == before
    held = Store.open(locate(place, S3Options())).encoder()
    assert verify(held).sound
    assert len(held.parts("images")) == -(-(len(keys) + 1) // 5)
    status = command("status", place)
    assert (status.exit_code, f"s3://{bucket}/in/" in status.stdout) == (0, True)


@only_moto
def test_rows_name_the_object(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A row carries bucket, key, etag and version of the object that was read."""
    client = s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put = client.put_object(Bucket=bucket, Key="a.jpg", Body=picture_bytes(1))
    embed(f"s3://{bucket}", tmp_path, tiny_encoder)
    (row,) = all_rows(tmp_path)
    assert (row["bucket"], row["key"], row["uri"]) == (bucket, "a.jpg", f"s3://{bucket}/a.jpg")
    assert (row["etag"], row["version_id"]) == (put["ETag"].strip('"'), put["VersionId"])


def test_nothing_stays_open(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """When a job has ended its connections are closed, not some time later: a notebook may run many."""
    for number in range(12):
        s3.client().put_object(Bucket=bucket, Key=f"{number}.jpg", Body=picture_bytes(number))
    embed(f"s3://{bucket}/", tmp_path / "first", tiny_encoder)  # the decoders stay, for the next job
    gc.collect()
    gc.disable()
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        embed(f"s3://{bucket}/", tmp_path / "second", tiny_encoder)
        clients = 2  # botocore's own connections wait for the garbage collector
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + clients
    finally:
        gc.enable()


def test_open_files_are_allowed() -> None:
    """Where a system allows few open files at first, a job allows itself more, and no fewer where it allows many."""
    given = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for soft, then in ((256, 1024), (1500, 1500)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, given[1]))
            S3Source("s3://photos/", S3Options())
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == then
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, given)


def test_replaced_and_deleted_objects(s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A replaced object is read again under its new etag, a deleted one is no longer current, the rest is not read."""
    put_pictures(s3, bucket, ["a.jpg", "b.jpg", "c.jpg"])
    embed(f"s3://{bucket}", tmp_path, tiny_encoder)
    s3.client().put_object(Bucket=bucket, Key="a.jpg", Body=picture_bytes(20))
    s3.client().delete_object(Bucket=bucket, Key="b.jpg")
    summary = embed(f"s3://{bucket}", tmp_path, tiny_encoder)
    assert (summary.listed, summary.already_done, summary.embedded) == (2, 1, 1)
    assert outcomes(tmp_path) == {"a.jpg": "embedded", "c.jpg": "embedded"}


@only_moto
def test_transient_failures_are_retried(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """SlowDown and internal errors, here on the first try of every request, leave no trace in the store."""
    put_pictures(s3, bucket, [f"{k}.jpg" for k in range(6)])
    met: set[tuple[str, str]] = set()

    def once(method: str, path: str) -> tuple[int, str] | None:
        if (method, path) in met:
            return None
        met.add((method, path))
        return (503, "SlowDown") if len(met) % 2 else (500, "InternalError")

    s3.faults.append(once)
    assert embed(f"s3://{bucket}", tmp_path, tiny_encoder).embedded == 6
    assert len(met) == 7


@only_moto
def test_forbidden_object_and_retry(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """One denied object is a row `forbidden`; once it is allowed, --retry-failed reads it, and it alone."""
    put_pictures(s3, bucket, ["allowed.jpg", "denied.jpg"])
    s3.faults.append(lambda _, path: (403, "AccessDenied") if path.endswith("denied.jpg") else None)
    assert embed(f"s3://{bucket}", tmp_path, tiny_encoder).errors == {"forbidden": 1}
    assert outcomes(tmp_path) == {"allowed.jpg": "embedded", "denied.jpg": "forbidden"}
    s3.reset()
    assert embed(f"s3://{bucket}", tmp_path, tiny_encoder).embedded == 0
    again = embed(f"s3://{bucket}", tmp_path, tiny_encoder, retry_failed=True)
    assert (again.already_done, again.embedded) == (1, 1)
    assert outcomes(tmp_path) == {"allowed.jpg": "embedded", "denied.jpg": "embedded"}
    assert [path for method, path, *_ in s3.requests if method == "GET" and path.endswith("jpg")] == [
        f"/{bucket}/denied.jpg"
    ]


@only_moto
def test_nothing_may_be_read(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """Where the first objects are all forbidden, though it began well, one sentence ends the job."""
    put_pictures(s3, bucket, [f"{k:03}.jpg" for k in range(REFUSED_AT_FIRST + 4)])
    tried: list[str] = []

    def denied(_: str, path: str) -> tuple[int, str] | None:
        tried.extend([path] if path.endswith(".jpg") else [])
        return (403, "AccessDenied") if path.endswith(".jpg") and len(tried) > 1 else None

    s3.faults.append(denied)
    result = embed_command(f"s3://{bucket}", tmp_path, tiny_encoder)
    assert result.exit_code == 1
    assert f"The first {REFUSED_AT_FIRST} objects of s3://{bucket}/ are all forbidden." in result.stderr
    assert "--retry-failed" in result.stderr
    s3.reset()
    embed(f"s3://{bucket}", tmp_path, tiny_encoder, retry_failed=True)
    assert set(outcomes(tmp_path).values()) == {"embedded"}


@only_moto
def test_much_may_not_be_read(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """Where some objects can be read, any number of forbidden ones are rows, also while no batch is full yet."""
    keys = [f"{k:03}.jpg" for k in range(REFUSED_AT_FIRST + 10)]
    put_pictures(s3, bucket, keys)
    s3.faults.append(lambda _, path: (403, "AccessDenied") if path.endswith(tuple(keys[1:])) else None)
    summary = embed(f"s3://{bucket}", tmp_path, tiny_encoder, batch_size=64)
    assert (summary.embedded, summary.errors) == (1, {"forbidden": len(keys) - 1})


@only_moto
def test_stopped_listing(s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A listing that is denied ends the job before it begins, with the statement that a policy lacks."""
    put_pictures(s3, bucket, ["a.jpg"])
    s3.faults.append(lambda _, path: (403, "AccessDenied") if path.rstrip("/") == f"/{bucket}" else None)
    result = embed_command(f"s3://{bucket}", tmp_path / "store", tiny_encoder)
    assert result.exit_code == 1
    assert f"list s3://{bucket}/ (s3:ListBucket): " in result.stderr


# Wrong ends


def sentence(stderr: str) -> str:
    """The one sentence that a failed command prints, after the line that names the encoder."""
    lines = [line for line in stderr.splitlines() if not line.startswith("Encoder ")]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("clipsieve: ")
    return lines[0]


def test_missing_bucket(s3: S3Server, tiny_encoder: Path, tmp_path: Path) -> None:
    """A bucket that does not exist, of the source or of the store, is one sentence and exit code 1."""
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1))
    from_it = embed_command("s3://no-such-bucket/in", tmp_path / "store", tiny_encoder)
    into_it = embed_command(tmp_path, "s3://no-such-bucket/store", tiny_encoder)
    for result in (from_it, into_it):
        assert result.exit_code == 1
        assert re.search(r"s3://no-such-bucket/.*: NoSuchBucket.* Check the bucket's name", sentence(result.stderr))


def test_wrong_secret(
    s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret key is one sentence and exit code 1, and no secret is printed."""
    put_pictures(s3, bucket, ["a.jpg"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quite-another-secret")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for source, store in ((f"s3://{bucket}", tmp_path / "store"), (tmp_path, f"s3://{bucket}/store")):
        result = embed_command(source, store, tiny_encoder)
        assert result.exit_code == 1
        assert "SignatureDoesNotMatch" in sentence(result.stderr)
        assert not re.search(f"quite-another|{re.escape(s3.secret_key)}", result.output)


def test_no_credentials(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials the sentence says how to give them, and exit code 1 follows."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    result = embed_command("s3://bucket/in", tmp_path / "store", tiny_encoder)
    assert result.exit_code == 1
    assert "no AWS credentials were found. Set AWS_ACCESS_KEY_ID" in sentence(result.stderr)


@only_moto
def test_service_that_cannot_be_reached(
    s3: MotoServer, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that does not answer is one sentence that names the endpoint."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    result = embed_command("s3://bucket", tmp_path / "s", tiny_encoder, "--endpoint-url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9" in sentence(result.stderr)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1:9"])
def test_endpoint_that_is_none(tiny_encoder: Path, tmp_path: Path, url: str) -> None:
    """Words that are no endpoint are refused in one sentence."""
    result = embed_command("s3://bucket", tmp_path / "s", tiny_encoder, "--endpoint-url", url)
    assert result.exit_code in {1, 2}
    assert url in sentence(result.stderr)


@only_moto
def test_two_encoders_on_s3(s3: MotoServer, bucket: str, tiny_encoder: Path, embedded_store: Path) -> None:
    """A store on S3 lists its encoders, and finds them by the words of `--encoder`."""
    encoder = shelf(embedded_store).encoder
    store = Store.create(locate(f"s3://{bucket}/store", S3Options()))
    assert store.add_encoder(encoder).encoder == encoder
    assert [held.encoder for held in store.encoders()] == [encoder]
    session = clipsieve.open(f"s3://{bucket}/store", f"local-dir:{tiny_encoder}")
    assert session.encoder == encoder
