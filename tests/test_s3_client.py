"""How S3 is asked: as the program that uses us has set boto3 up, by our name, and with times read by their format."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.utils import parse_timestamp

from store.s3.errors import asks_for_less, is_for_later
from store.s3.options import S3Options
from store.s3.times import time_of
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T20:29:31.618Z",
        "2026-11-21T20:29:31Z",
        "2026-11-21T20:29:31+02:00",
        "Sat, 21 Nov 2026 20:29:31 GMT",
        "Saturday, 21-Nov-26 20:29:31 GMT",
        "1795292971",
        1795292971.5,
    ],
)
def test_times(text: str | float) -> None:
    """A time means what botocore takes it for, and has a zone."""
    assert time_of(text) == parse_timestamp(text)  # type: ignore[arg-type]  # services send numbers too
    assert time_of(text).tzinfo is not None


def test_no_time() -> None:
    """What is no time is refused as botocore refuses it."""
    with pytest.raises(ValueError, match="never"):
        time_of("never")


def test_listings_are_read_by_format(s3: S3Server, bucket: str) -> None:
    """A listing and an object say the same time, that of the server."""
    s3.client().put_object(Bucket=bucket, Key="a", Body=b"1")
    (expected,) = (one["LastModified"] for one in s3.client().list_objects_v2(Bucket=bucket)["Contents"])
    client = S3Options().client()
    (listed,) = (one["LastModified"] for one in client.list_objects_v2(Bucket=bucket)["Contents"])
    assert listed == expected
    assert type(listed.tzinfo).__module__ == "datetime", "read without dateutil"
    assert abs((client.get_object(Bucket=bucket, Key="a")["LastModified"] - expected).total_seconds()) <= 1
    assert client.meta.config.user_agent.startswith("clipsieve/")  # type: ignore[attr-defined]  # set at run time


def test_listings_are_boto3s(s3: S3Server, bucket: str) -> None:
    """A listing says what boto3's own says, of every object what is asked of objects here, and no error is overseen."""
    for key in ("a", "b c/ä+1%20&~<x>'!*\n.jpg", "b c/d", "日本.png"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    questions: list[dict[str, Any]] = [
        {},
        {"Delimiter": "/"},
        {"Prefix": "b c/", "MaxKeys": 1},
        {"Prefix": "nothing"},
        {"FetchOwner": True, "StartAfter": "a"},
    ]
    kept = {"Key", "LastModified", "ETag", "Size", "StorageClass"}
    for question in questions:
        ours, boto3s = (one.list_objects_v2(Bucket=bucket, **question) for one in (S3Options().client(), s3.client()))
        for said in (ours, boto3s):
            del said["ResponseMetadata"]  # type: ignore[misc]  # of the request
        for item in boto3s.get("Contents", []):
            for name in item.keys() - kept:
                del item[name]  # type: ignore[misc]  # not every one is there
        assert ours == boto3s
    with pytest.raises(ClientError, match="NoSuchBucket"):
        S3Options().client().list_objects_v2(Bucket=f"{bucket}-other")


def test_a_session_that_was_set_up(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program has set up boto3's default session, S3 is asked with that one's credentials."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quite-another-secret")
    boto3.setup_default_session(
        aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key, region_name=s3.region
    )
    assert S3Options().client().list_objects_v2(Bucket=bucket)["Name"] == bucket


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_credentials_that_a_program_has_set(s3: MotoServer, bucket: str) -> None:
    """Credentials that a program has handed over are not exchanged for others when they expire."""
    boto3.setup_default_session(aws_access_key_id=s3.access_key, aws_secret_access_key=s3.secret_key)
    s3.faults.append(lambda _method, _path: (400, "ExpiredToken"))
    with pytest.raises(ClientError, match="ExpiredToken"):
        S3Options().client().list_objects_v2(Bucket=bucket)
    assert len([one for one in s3.requests if one.method == "GET"]) == 1


@pytest.mark.parametrize(
    ("status", "code", "later", "less"),
    [
        (503, "SlowDownWrite", True, True),  # MinIO's
        (503, "XMinioServerNotInitialized", True, True),
        (520, "520", True, False),  # Cloudflare's, before R2
        (500, "InternalError", True, False),
        (501, "NotImplemented", False, False),
        (404, "NoSuchBucket", False, False),
    ],
)
def test_answers_that_pass(status: int, code: str, *, later: bool, less: bool) -> None:
    """Whether an answer passes is told by its status too: services have codes of their own."""
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = ClientError(answer, "GetObject")
    assert is_for_later(error) == later
    assert asks_for_less(error) == less
