"""Reading many objects of one bucket: what boto3 would ask, its answers and its errors, for less of a core."""

import re
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from store.s3 import S3Options
from store.s3.client import get_object
from store.s3.errors import BodyBrokeOff
from store.s3.gets import _RESOLVED, Gets
from tests.embedding import retry_at_once
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer, SeenRequest, Wire

KEYS = ["a.jpg", "b c/ä+1%20&~(x)'!*.jpg", "d//e", "f/../g", "h?i=j#k", ":", "日本.png"]

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    retry_at_once(monkeypatch)


def asked_by_boto3(gets: Gets) -> list[object]:
    """One for each object that boto3 asks for from now on."""
    asked: list[object] = []
    gets.client.meta.events.register("provide-client-params.s3.GetObject", lambda **of: asked.append(of))
    return asked


def lasting(request: SeenRequest) -> tuple[object, ...]:
    """A request but for what is another each time, and what has no effect."""
    another = {"authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "accept-encoding"}
    kept = {name: value for name, value in request.headers.items() if name not in another}
    return request.method, request.path, request.query, kept


def reader(s3: S3Server, bucket: str, keys: list[str], **options: Any) -> Gets:
    """What reads a bucket that holds these keys, each object its own name."""
    for key in keys:
        s3.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    return Gets(S3Options(**options).client(attempts=1))


def test_requests_are_boto3s(s3: S3Server, bucket: str) -> None:
    """Whatever a key is called, what is asked is what boto3 would ask, who asks the first time alone.

    And where a key looks like the way to another: libcurl would take it for that.
    """
    keys = [key for key in KEYS if s3.name == "moto" or key not in {"d//e", "f/../g"}]  # rclone's keys are paths
    gets = reader(s3, bucket, keys, requester_pays=True)
    by_boto3 = asked_by_boto3(gets)
    payer = {"RequestPayer": "requester"}
    if isinstance(s3, MotoServer):
        s3.requests.clear()
    for key in [keys[0], *keys]:
        answer, data = gets.get(Bucket=bucket, Key=key, **payer)
        assert data == key.encode()
        assert gets.get(Bucket=bucket, Key=key, IfMatch=answer["ETag"], Range="bytes=0-0", **payer)[1] == data[:1]
    assert len(by_boto3) == (3 if "f/../g" in keys else 1)
    if not isinstance(s3, MotoServer):
        return
    asked = s3.requests.copy()
    s3.requests.clear()
    for key in [keys[0], *keys]:
        answer, _ = get_object(gets.client, Bucket=bucket, Key=key, **payer)
        get_object(gets.client, Bucket=bucket, Key=key, IfMatch=answer["ETag"], Range="bytes=0-0", **payer)
    assert list(map(lasting, asked)) == list(map(lasting, s3.requests))
    assert "x-amz-request-payer" in asked[-1].headers


@pytest.mark.parametrize("key", ["..", "../a", "a/..", "a/./b", "./a", "a/../b"])
def test_keys_that_are_no_paths(key: str) -> None:
    """What a client of the web would resolve is recognised wherever it stands in a key."""
    assert _RESOLVED.search(key)
    assert not _RESOLVED.search(key.replace("..", "...").replace("./", "x/"))


@only_moto
@pytest.mark.parametrize(
    ("request_", "status", "code", "again"),
    [
        ({"Key": "gone"}, None, "NoSuchKey", 0),
        ({"Key": "a", "IfMatch": '"other"'}, None, "PreconditionFailed", 0),
        ({"Key": "a", "Range": "bytes=9-"}, None, "InvalidRange", 0),
        ({"Key": "a"}, (503, "SlowDown"), "SlowDown", 0),
        ({"Key": "a"}, (500, "InternalError"), "InternalError", 0),
        ({"Key": "a"}, (403, "AccessDenied"), "AccessDenied", 1),
        ({"Key": "a"}, (400, "ExpiredToken"), "ExpiredToken", 1),
    ],
)
def test_errors_are_boto3s(  # noqa: PLR0917  # a case is its parameters
    s3: MotoServer,
    bucket: str,
    request_: dict[str, str],
    status: tuple[int, str] | None,
    code: str,
    again: int,
) -> None:
    """What S3 refuses raises what boto3 raises; boto3 asks again where it may know better than to give up."""
    gets = reader(s3, bucket, ["a"])
    gets.get(Bucket=bucket, Key="a")
    by_boto3 = asked_by_boto3(gets)
    if status:
        s3.faults.append(lambda _method, path: status if path.endswith("/a") else None)
    with pytest.raises(ClientError) as ours:
        gets.get(Bucket=bucket, **request_)
    assert len(by_boto3) == again
    with pytest.raises(ClientError) as theirs:
        get_object(gets.client, Bucket=bucket, **request_)
    assert ours.value.response["Error"] == theirs.value.response["Error"]
    assert ours.value.response["Error"]["Code"] == code
    assert ours.value.operation_name == theirs.value.operation_name == "GetObject"


@only_moto
def test_a_body_that_breaks_off(s3: MotoServer, bucket: str) -> None:
    """A body that ends early is asked for again, and in the end raises what boto3's does."""
    gets = reader(s3, bucket, ["a"])
    gets.get(Bucket=bucket, Key="a")
    asked = [0]

    def cut(_method: str, path: str) -> Wire | None:
        asked[0] += path.endswith("/a")
        return Wire.HALF if asked[0] <= limit else None

    s3.faults.append(cut)
    limit = 2
    assert gets.get(Bucket=bucket, Key="a")[1] == b"a"
    asked[0], limit = 0, 100
    with pytest.raises(BodyBrokeOff):
        gets.get(Bucket=bucket, Key="a")


@only_moto
def test_credentials_of_now(s3: MotoServer, bucket: str) -> None:
    """Each request is signed with the credentials as they are then, and with their token where they have one."""
    gets = reader(s3, bucket, ["a"])
    gets.get(Bucket=bucket, Key="a")
    gets.client._request_signer._credentials.token = "a token"  # type: ignore[attr-defined]
    gets.get(Bucket=bucket, Key="a")
    assert s3.requests[-1].headers["x-amz-security-token"] == "a token"


def test_unsigned_requests_stay_boto3s(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a request is signed in another way, or not at all, boto3 makes every one."""
    gets = reader(s3, bucket, ["a"])
    by_boto3 = asked_by_boto3(gets)
    monkeypatch.setattr("store.s3.gets._SIGNED", re.compile("another algorithm"))
    for _ in range(3):
        assert gets.get(Bucket=bucket, Key="a")[1] == b"a"
    assert len(by_boto3) == 3


@only_moto
def test_what_only_boto3_can(s3: MotoServer, bucket: str) -> None:
    """Where boto3 is answered and libcurl is refused from the beginning, libcurl asks once and never again."""
    gets = reader(s3, bucket, ["a"])
    s3.requests.clear()

    def refuse_others(_method: str, _path: str) -> tuple[int, str] | None:
        return None if "amz-sdk-invocation-id" in s3.requests[-1].headers else (403, "SignatureDoesNotMatch")

    s3.faults.append(refuse_others)
    assert [gets.get(Bucket=bucket, Key="a")[1] for _ in range(5)] == [b"a"] * 5
    assert len(s3.requests) == 5 + 1


def test_many_threads(s3: S3Server, bucket: str) -> None:
    """Threads that begin together get each its own object, and one of them alone asks through boto3."""
    keys = [f"{number}" for number in range(8)]
    gets = reader(s3, bucket, keys)
    by_boto3 = asked_by_boto3(gets)
    found: dict[str, bytes] = {}

    def read(key: str) -> None:
        for _ in range(4):
            found[key] = gets.get(Bucket=bucket, Key=key)[1]

    threads = [threading.Thread(target=read, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {key: key.encode() for key in keys}
    assert len(by_boto3) == 1
