"""Whatever the service does, the store ends as that of a quiet run: each fault is injected before the S3 server."""

import json
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from embed import patience as patience_module
from tests.embedding import all_rows, embed, embed_command, outcomes, retry_at_once
from tests.inventories import put_inventory
from tests.pictures import OUTCOMES, picture_bytes
from tests.servers.moto_server import Answer, Fault, MotoServer, Wire
from tests.test_source_tars import tar_bytes

BUCKET = "album-of-faults"
SOURCE = f"s3://{BUCKET}/"

pytestmark = pytest.mark.parametrize("s3", ["moto"], indirect=True)


@pytest.fixture(scope="module")
def _album(moto_s3: MotoServer, photos: Path) -> Iterator[None]:
    """The photos in a bucket that stays the same for every test here, as do its etags and times."""
    client = moto_s3.client()
    client.create_bucket(Bucket=BUCKET)
    for key in OUTCOMES:
        client.put_object(Bucket=BUCKET, Key=key, Body=(photos / key).read_bytes())
    yield
    moto_s3.reset()
    for key in OUTCOMES:
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture(scope="module")
def quiet_rows(
    _album: None, moto_s3: MotoServer, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """The rows of a job that nothing disturbed."""
    place = tmp_path_factory.mktemp("quiet")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in moto_s3.environment().items():
            patched.setenv(name, value)
        patched.setattr(boto3, "DEFAULT_SESSION", None)  # it would keep the credentials of the test before
        embed(SOURCE, place, tiny_encoder)
    return all_rows(place)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, _album: None) -> None:
    """Nobody waits before trying again."""
    retry_at_once(monkeypatch)
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)


def of_objects(fault: Callable[[str, int], Answer]) -> Fault:
    """A fault that reads of objects meet; `fault` is told the path and how often it was asked for, from 1."""
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def meet(method: str, path: str) -> Answer:
        if method != "GET" or path.rstrip("/") == f"/{BUCKET}":
            return None
        with lock:
            asked[path] += 1
            time = asked[path]
        return fault(path, time)

    return meet


ONCE: list[Answer] = [
    (500, "InternalError"),
    (502, "502"),
    (503, "SlowDown"),
    (503, "SlowDownRead"),  # MinIO's
    (429, "TooManyRequests"),
    (400, "RequestTimeout"),
    Wire.RESET,
    Wire.HALF,
]


def test_each_object_fails_once(
    s3: MotoServer, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path
) -> None:
    """A fault at the first reads of every object leaves no trace: the store is that of a quiet run, row for row."""
    met: set[int] = set()

    def fail(path: str, time: int) -> Answer:
        number = (zlib.crc32(path.encode()) + time) % len(ONCE)
        met.add(number)
        return ONCE[number] if time <= 2 else None

    s3.faults.append(of_objects(fail))
    embed(SOURCE, tmp_path, tiny_encoder)
    assert met == set(range(len(ONCE)))
    assert all_rows(tmp_path) == quiet_rows


def test_answers_that_never_come(
    s3: MotoServer,
    quiet_rows: list[dict[str, Any]],
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request that is not answered is given up and made again."""
    monkeypatch.setattr("store.s3.client.READ_TIMEOUT_S", 0.3)
    answer = threading.Event()

    def stall(path: str, time: int) -> None:
        if time == 1 and path.endswith("00.jpg"):
            answer.wait(30)

    s3.faults.append(of_objects(stall))
    embed(SOURCE, tmp_path, tiny_encoder)
    answer.set()
    assert all_rows(tmp_path) == quiet_rows


def test_outage(s3: MotoServer, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path) -> None:
    """While the service is away the readers pause; no object is given up, and the job ends as a quiet one."""
    total = Counter[str]()

    def away(_: str, __: int) -> Answer:
        total["reads"] += 1
        if not 10 < total["reads"] <= 90:
            return None
        return Wire.RESET if total["reads"] % 2 else (503, "ServiceUnavailable")

    s3.faults.append(of_objects(away))
    embed(SOURCE, tmp_path, tiny_encoder)
    assert total["reads"] > 90 + len(OUTCOMES) - 11
    assert all_rows(tmp_path) == quiet_rows


def test_outage_while_listing(
    s3: MotoServer, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path
) -> None:
    """A listing waits for the service as reads do, and begins to again where it was; beyond --patience the job ends."""
    total = Counter[str]()

    def away(method: str, path: str) -> Answer:
        if method != "GET" or path.rstrip("/") != f"/{BUCKET}":
            return None
        total["listings"] += 1
        if not 1 < total["listings"] <= limit:  # the first one is the preflight's
            return None
        return Wire.RESET if total["listings"] % 2 else (503, "SlowDown")

    limit = 10**9
    s3.faults.append(away)
    result = embed_command(SOURCE, tmp_path, tiny_encoder, "--patience", "0.05")
    assert result.exit_code == 1
    assert f"Cannot list {SOURCE}: " in result.stderr
    total.clear()
    limit = 4
    embed(SOURCE, tmp_path, tiny_encoder)
    assert total["listings"] > limit
    assert all_rows(tmp_path) == quiet_rows


def listed_from(kind: str, s3: MotoServer, bucket: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """A source whose listing lies in files of `bucket`: its words, the options it needs, and what is to come of it."""
    client = s3.client()
    if kind == "tars":
        client.put_object(Bucket=bucket, Key="in/0.tar", Body=tar_bytes({"a.jpg": picture_bytes(1)}))
        return f"s3://{bucket}/in/*.tar", {}, {"0.tar/a.jpg": "embedded"}
    if kind == "list":
        text = "".join(f"{SOURCE}{key}\n" for key in ("cats/00.jpg", "cats/01.png"))
        client.put_object(Bucket=bucket, Key="photos.csv", Body=f"uri\n{text}".encode())
        return f"s3://{bucket}/photos.csv", {}, dict.fromkeys(("cats/00.jpg", "cats/01.png"), "embedded")
    found = client.list_objects_v2(Bucket=BUCKET)["Contents"]
    manifest = put_inventory(
        s3, BUCKET, kind, [(one["Key"], one["ETag"].strip('"'), "true") for one in found], into=bucket
    )
    return SOURCE, {"inventory": manifest}, OUTCOMES


@pytest.mark.parametrize("kind", ["Parquet", "CSV", "list", "tars"])
def test_outage_while_a_listing_is_read(
    s3: MotoServer, kind: str, bucket: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    """The files that a listing is read from are waited for as the listing of a prefix is; beyond --patience it ends."""
    source, options, expected = listed_from(kind, s3, bucket)
    asked = Counter[str]()

    def away(method: str, path: str) -> Answer:
        if method not in {"GET", "HEAD"} or not path.startswith(f"/{bucket}/"):
            return None
        asked[method + path] += 1
        return (
            (Wire.RESET if asked[method + path] % 2 else (503, "SlowDown")) if asked[method + path] <= limit else None
        )

    limit = 10**9
    s3.faults.append(away)
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    result = embed_command(source, tmp_path, tiny_encoder, "--patience", "0.05", *words)
    assert (result.exit_code, f"Cannot read s3://{bucket}/" in result.stderr) == (1, True), result.output
    asked.clear()
    limit = 30
    embed(source, tmp_path, tiny_encoder, **options)
    assert min(asked.values()) > limit
    assert outcomes(tmp_path) == expected


def test_outage_that_lasts(
    s3: MotoServer, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path
) -> None:
    """An outage beyond --patience ends the job in one sentence; nothing is given up, and the next job does the rest."""
    total = Counter[str]()

    def away(_: str, __: int) -> tuple[int, str] | None:
        total["reads"] += 1
        return (503, "ServiceUnavailable") if total["reads"] > 10 else None

    s3.faults.append(of_objects(away))
    result = embed_command(SOURCE, tmp_path, tiny_encoder, "--patience", "0.05", "--batch-size", "1")
    assert result.exit_code == 1
    assert "The service has not answered for 0 s (ServiceUnavailable)." in result.stderr
    assert "everything else is still pending" in result.stderr
    rows = all_rows(tmp_path)
    assert 0 < len(rows) <= 10
    assert "read_failed" not in {row["error_code"] for row in rows}
    s3.reset()
    assert embed(SOURCE, tmp_path, tiny_encoder).already_done == len(rows)
    assert all_rows(tmp_path) == quiet_rows


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (404, "NoSuchBucket", "Check the bucket's name"),
        (403, "InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", "Renew the credentials"),
        (400, "AuthorizationHeaderMalformed", "--region"),
        (403, "RequestTimeTooSkewed", "Set this machine's clock"),
    ],
)
def test_fault_that_cannot_pass(
    s3: MotoServer, *, status: int, code: str, advice: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    """What trying again cannot mend ends the job at once, in one sentence, with nothing recorded as failed."""
    reads = Counter[str]()

    def refuse(path: str, _: int) -> tuple[int, str]:
        reads[path] += 1
        return (status, code)

    s3.faults.append(of_objects(refuse))
    result = embed_command(SOURCE, tmp_path, tiny_encoder)
    assert result.exit_code == 1
    (sentence,) = (line for line in result.stderr.splitlines() if not line.startswith("Encoder "))
    assert code in sentence
    assert advice in sentence
    assert max(reads.values()) <= 3  # an expired token is looked up once more
    assert not list(tmp_path.glob("*/images/*"))


@pytest.mark.parametrize("what", ["objects", "listing", "store"])
def test_credentials_that_are_renewed(  # noqa: PLR0917  # a case is its parameters
    s3: MotoServer,
    bucket: str,
    quiet_rows: list[dict[str, Any]],
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """Credentials that expire in the middle are looked up afresh, whatever they are needed for then."""
    profile = tmp_path / "credentials"

    def write(token: str) -> None:
        lines = [f"aws_access_key_id={s3.access_key}", f"aws_secret_access_key={s3.secret_key}"]
        written = profile.with_suffix(f".{threading.get_ident()}")  # and put in place: it may be read meanwhile
        written.write_text("\n".join(["[default]", *lines, f"aws_session_token={token}"]))
        written.replace(profile)

    write("old")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    where = {"objects": f"/{BUCKET}/cats/asleep", "listing": f"/{BUCKET}", "store": f"/{bucket}/store/encoder="}[what]
    seen = []

    def expire(method: str, path: str) -> Answer:
        if not path.startswith(where) or (what == "store" and method != "PUT"):
            return None
        asked = next(one for one in reversed([*s3.requests]) if one.path == path)  # others are asked meanwhile
        token = asked.headers["x-amz-security-token"]
        seen.append(token)
        write("new")
        return (400, "ExpiredToken") if token == "old" else None

    s3.faults.append(expire)
    place = f"s3://{bucket}/store" if what == "store" else tmp_path / "store"
    embed(SOURCE, place, tiny_encoder)
    assert set(seen) == {"old", "new"}
    s3.reset()
    assert embed(SOURCE, place, tiny_encoder).embedded == 0
    if what != "store":
        assert all_rows(place) == quiet_rows


PER_OBJECT: dict[str, tuple[Answer, str]] = {
    "cats/00.jpg": ((404, "NoSuchKey"), "not_found"),
    "cats/01.png": ((412, "PreconditionFailed"), "changed"),
    "cats/02.webp": ((403, "AccessDenied"), "forbidden"),
    "cats/03.gif": ((403, "InvalidObjectState"), "archived"),
    "cats/04.jpg": ((400, "KMS.DisabledException"), "forbidden"),
    "cats/asleep/05.jpg": (Wire.HALF, "read_failed"),
    "cats/asleep/06.png": ((500, "InternalError"), "read_failed"),
}


def test_faults_of_single_objects(
    s3: MotoServer, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path
) -> None:
    """An object at fault is a row with its own code, the others' rows are a quiet run's; a later try heals it."""
    answers = {f"/{BUCKET}/{key}": answer for key, (answer, _) in PER_OBJECT.items()}
    s3.faults.append(of_objects(lambda path, _: answers.get(path)))
    embed(SOURCE, tmp_path, tiny_encoder)
    assert outcomes(tmp_path) == OUTCOMES | {key: code for key, (_, code) in PER_OBJECT.items()}
    rows = {row["key"]: row for row in all_rows(tmp_path)}
    assert [row for key, row in rows.items() if key not in PER_OBJECT] == [
        row for row in quiet_rows if row["key"] not in PER_OBJECT
    ]
    said = f"at each of {patience_module.ATTEMPTS} attempts"
    assert rows["cats/asleep/06.png"]["error_detail"] == f"InternalError {said}"
    assert said in rows["cats/asleep/05.jpg"]["error_detail"]
    s3.reset()
    embed(SOURCE, tmp_path, tiny_encoder, retry_failed=True)
    assert outcomes(tmp_path) == OUTCOMES
    kept = [row for row in all_rows(tmp_path) if row["status"] == "embedded"]
    assert kept == [row for row in quiet_rows if row["status"] == "embedded"]


@pytest.mark.parametrize("answer", [(503, "SlowDown"), Wire.RESET])
def test_store_that_is_away(
    s3: MotoServer, *, answer: Answer, bucket: str, quiet_rows: list[dict[str, Any]], tiny_encoder: Path, tmp_path: Path
) -> None:
    """A store that takes no part and no listing for a while costs nothing: they are written when it is back."""
    refused = Counter[str]()

    def away(method: str, path: str) -> Answer:
        if method == "PUT" and ("/images/" in path or "/listings/" in path) and refused[path] < 20:
            refused[path] += 1
            return answer
        return None

    s3.faults.append(away)
    summary = embed(SOURCE, f"s3://{bucket}/store", tiny_encoder, part_rows=16)
    assert (summary.pending, summary.embedded) == (0, sum(row["status"] == "embedded" for row in quiet_rows))
    assert min(refused.values()) >= 8, "what a reset PUT has made is found by the next look"
    s3.reset()
    assert embed(SOURCE, f"s3://{bucket}/store", tiny_encoder).already_done == len(OUTCOMES)


def test_store_that_is_away_at_first(
    s3: MotoServer, bucket: str, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is asked what is done until it answers; one line says that the job waits; beyond --patience it ends."""
    embed(SOURCE, place := f"s3://{bucket}/store", tiny_encoder)
    asked = Counter[str]()

    def away(method: str, path: str) -> Answer:
        if method not in {"GET", "HEAD"} or "/images/" not in path:
            return None
        asked["reads"] += 1
        return (Wire.RESET if asked["reads"] % 2 else (503, "SlowDown")) if asked["reads"] <= limit else None

    s3.faults.append(away)
    limit = 10**9
    ended = embed_command(SOURCE, place, tiny_encoder, "--patience", "0.05", "--log-format", "json")
    assert (ended.exit_code, f"Cannot read {place}/" in ended.stderr) == (1, True), ended.output
    limit = asked["reads"] + 40
    monkeypatch.setattr(patience_module, "_SAID", patience_module._Said())
    done = embed_command(SOURCE, place, tiny_encoder, "--log-format", "json")
    assert json.loads(done.stdout)["already_done"] == len(OUTCOMES)
    assert asked["reads"] > limit
    (said,) = (line["note"] for line in map(json.loads, done.stderr.splitlines()) if line["event"] == "note")
    assert said.startswith("Cannot read s3://")
    assert said.endswith("Trying again for up to 10 min 0 s.")


def test_estimate_while_the_source_is_away(s3: MotoServer, tiny_encoder: Path, tmp_path: Path) -> None:
    """An estimate waits for a listing as a job does, so an hour of listing is not lost."""
    total = Counter[str]()

    def away(method: str, path: str) -> Answer:
        total["listings"] += method == "GET" and path.rstrip("/") == f"/{BUCKET}"
        return (503, "SlowDown") if 1 < total["listings"] < 20 and path.rstrip("/") == f"/{BUCKET}" else None

    s3.faults.append(away)
    result = embed_command(SOURCE, tmp_path / "store", tiny_encoder, "--estimate")
    assert result.exit_code == 0, result.output
    assert total["listings"] >= 20
