"""The S3 servers of the tests hold what S3 promises: keys as they are, and no request without a valid signature."""

import base64
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import boto3
import pytest
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from pyarrow.fs import S3FileSystem

from tests.servers import S3Server
from tests.servers.moto_server import MotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ODD_KEYS = [
    "plain.jpg",
    "with space/and  two.jpg",
    " leading space.jpg",
    "plus+plus.jpg",
    "100%25 off%.jpg",
    "ünï/日本語/😀.jpg",
    "decomposed-e\N{COMBINING ACUTE ACCENT}.jpg",
    "new\nline.jpg",
    "tab\tand\rreturn.jpg",
    "encoder=x/q?a=1&b=2#c.jpg",
    "~!*'();:@$,[].jpg",
    'back\\slash "quotes" <tag>.jpg',
]
KEYS_THAT_NO_FOLDER_HOLDS = ["/leading.jpg", "two//slashes.jpg", "folder/", "./dot.jpg", "up/../and/down.jpg"]

REFUSED = {400, 403}  # rclone answers 400 where S3 answers AccessDenied with 403

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """The HTTP status and error code that S3 answers."""
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def fetch(
    url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """One plain HTTP request, as a program without an S3 client makes it."""
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        answer = pool.request(method, url, headers=headers, body=body)
        return answer.status, answer.data


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_key_round_trip(s3: S3Server, bucket: str, key: str) -> None:
    """An object comes back under the key it was put under, whatever characters the key has."""
    client = s3.client()
    client.put_object(Bucket=bucket, Key=key, Body=b"some bytes", Metadata={"with_underscore": "1"})
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"some bytes"
    assert client.head_object(Bucket=bucket, Key=key)["ContentLength"] == 10
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert {found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]} == {key, "copy"}
    assert fetch(client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}))[0] == 200


@only_moto
@pytest.mark.parametrize("key", KEYS_THAT_NO_FOLDER_HOLDS)
def test_key_that_is_no_path(moto_s3: MotoServer, bucket: str, key: str) -> None:
    """A key is a string and not a path: moto keeps slashes and dots as they are."""
    client = moto_s3.client()
    client.put_object(Bucket=bucket, Key=key, Body=b"some bytes")
    assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"some bytes"


def test_listing_in_pages(s3: S3Server, bucket: str) -> None:
    """A listing of several pages names every key once, in the order of UTF-8 bytes."""
    client = s3.client()
    for key in ODD_KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
    assert [len(page["Contents"]) for page in pages] == [5, 5, 2]
    assert [found["Key"] for page in pages for found in page["Contents"]] == sorted(ODD_KEYS, key=str.encode)


def test_range(s3: S3Server, bucket: str) -> None:
    """A range GET answers exactly the bytes asked for."""
    # rclone sends the whole object's checksum (and status 200) with a part of it, so boto3 must not compare.
    client = s3.client(config=Config(response_checksum_validation="when_required"))
    client.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    answer = client.get_object(Bucket=bucket, Key="digits", Range="bytes=2-4")
    assert answer["ContentRange"] == "bytes 2-4/10"
    assert answer["Body"].read() == b"234"


def test_standard_chain(s3: S3Server, bucket: str) -> None:
    """A program that only calls `boto3.client("s3")` finds the server under test."""
    assert bucket in [found["Name"] for found in boto3.client("s3").list_buckets()["Buckets"]]


def test_upload_in_parts(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """boto3's managed upload of a large file, in several parts at once, arrives whole."""
    content = os.urandom(9 * 1024 * 1024)
    tmp_path.joinpath("large").write_bytes(content)
    client = s3.client()
    client.upload_file(str(tmp_path / "large"), bucket, "large")
    assert client.get_object(Bucket=bucket, Key="large")["Body"].read() == content


def test_wrong_secret(s3: S3Server, bucket: str) -> None:
    """A wrong secret is refused for reading, writing and listing, and nothing is written."""
    forger = s3.client(aws_secret_access_key="wrong")
    refused = (403, "SignatureDoesNotMatch")
    assert refusal(lambda: forger.put_object(Bucket=bucket, Key="forged", Body=b"x")) == refused
    assert refusal(lambda: forger.get_object(Bucket=bucket, Key="forged")) == refused
    assert refusal(lambda: forger.list_objects_v2(Bucket=bucket)) == refused
    assert "Contents" not in s3.client().list_objects_v2(Bucket=bucket)


def test_unknown_access_key(s3: S3Server, bucket: str) -> None:
    """An access key that the server does not know is refused."""
    stranger = s3.client(aws_access_key_id="stranger")
    assert refusal(lambda: stranger.list_objects_v2(Bucket=bucket)) == (403, "InvalidAccessKeyId")


def test_unsigned(s3: S3Server, bucket: str) -> None:
    """A request without any signature is refused."""
    s3.client().put_object(Bucket=bucket, Key="a", Body=b"x")
    assert fetch(f"{s3.endpoint_url}/{bucket}/a")[0] in REFUSED


@only_moto
@pytest.mark.parametrize(
    "authorization",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=moto-access-key, SignedHeaders=host, Signature=é",
        "AWS4-HMAC-SHA256 Credential=moto-access-key/20200101/us-east-1/s3/other, SignedHeaders=host, Signature=0",
    ],
)
def test_malformed_signature(moto_s3: MotoServer, bucket: str, authorization: str) -> None:
    """A claim that cannot be read is refused as such; the server does not break on it."""
    headers = {"Authorization": authorization.encode().decode("latin-1")}
    status, body = fetch(f"{moto_s3.endpoint_url}/{bucket}", headers=headers)
    assert (status, b"AuthorizationHeaderMalformed" in body) == (400, True)


@only_moto
def test_another_signer(moto_s3: MotoServer, bucket: str) -> None:
    """The check agrees with a signer that is not botocore's: Arrow's, which streams its uploads in chunks."""
    options = {"access_key": moto_s3.access_key, "region": moto_s3.region, "endpoint_override": moto_s3.endpoint_url}
    path = f"{bucket}/encoder=a b/ü+%20,$&@.parquet"
    filesystem = S3FileSystem(secret_key=moto_s3.secret_key, **options)
    with filesystem.open_output_stream(path) as stream:
        stream.write(b"some bytes")
    assert filesystem.open_input_file(path).readall() == b"some bytes"
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        S3FileSystem(secret_key="wrong", **options).open_input_file(path)


def presigned(client: "S3Client", bucket: str, *, signed_ago_s: int = 0, expires_s: int = 60) -> str:
    """A URL for GET of the key `a`, signed some time ago."""
    moment = datetime.now(UTC) - timedelta(seconds=signed_ago_s)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        return client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a"}, ExpiresIn=expires_s)


def test_presigned_url(s3: S3Server, bucket: str) -> None:
    """A presigned URL is good until it expires, and not for another key, method or time."""
    client = s3.client()
    client.put_object(Bucket=bucket, Key="a", Body=b"some bytes")
    url = presigned(client, bucket)
    assert "X-Amz-Signature=" in url
    assert fetch(url) == (200, b"some bytes")
    assert fetch(presigned(client, bucket, signed_ago_s=50))[0] == 200
    assert fetch(presigned(client, bucket, signed_ago_s=70))[0] in REFUSED
    assert fetch(url.replace("/a?", "/b?"))[0] in REFUSED
    assert fetch(url, "DELETE")[0] in REFUSED
    assert fetch(url.replace("Expires=60", "Expires=3600"))[0] in REFUSED
    assert client.head_object(Bucket=bucket, Key="a")["ContentLength"] == 10


@only_moto
def test_presigned_url_says_why(moto_s3: MotoServer, bucket: str) -> None:
    """An expired URL is told apart from a forged one, in the words of S3's XML."""
    expired = fetch(presigned(moto_s3.client(), bucket, signed_ago_s=70))[1]
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in expired
    forged = fetch(presigned(moto_s3.client(aws_secret_access_key="wrong"), bucket))[1]
    assert b"<Code>SignatureDoesNotMatch</Code>" in forged


@only_moto
def test_presigned_for_too_long(moto_s3: MotoServer, bucket: str) -> None:
    """No URL can be presigned for more than seven days."""
    status, body = fetch(presigned(moto_s3.client(), bucket, expires_s=7 * 24 * 3600 + 1))
    assert (status, b"AuthorizationQueryParametersError" in body) == (400, True)


def test_presigned_upload(s3: S3Server, bucket: str) -> None:
    """A presigned PUT writes the object that it names."""
    client = s3.client()
    url = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b+c"})
    assert fetch(url, "PUT", body=b"some bytes")[0] == 200
    assert client.get_object(Bucket=bucket, Key="a b+c")["Body"].read() == b"some bytes"


def signed_put_headers(
    server: S3Server, url: str, body: bytes, headers: dict[str, str] | None = None, **context: object
) -> dict[str, str]:
    """The headers of a signed PUT, in the payload mode that `context` asks botocore for."""
    request = AWSRequest("PUT", url, headers=headers or {}, data=body)
    request.context.update(context)
    S3SigV4Auth(Credentials(server.access_key, server.secret_key), "s3", server.region).add_auth(request)
    return dict(request.headers.items())


def test_chunked_body_with_trailer(s3: S3Server, bucket: str) -> None:
    """A body in aws-chunked framing, with its checksum in the trailer, is stored without the framing."""
    url = f"{s3.endpoint_url}/{bucket}/a"
    checksum = base64.b64encode(zlib.crc32(b"some bytes").to_bytes(4, "big")).decode()
    body = f"a\r\nsome bytes\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()
    headers = {"X-Amz-Trailer": "x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length": "10"}
    headers |= {"Content-Encoding": "aws-chunked", "Content-Length": str(len(body))}
    headers = signed_put_headers(s3, url, body, headers, checksum={"request_algorithm": {"in": "trailer"}})
    assert headers["X-Amz-Content-SHA256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert fetch(url, "PUT", headers, body)[0] == 200
    assert s3.client().get_object(Bucket=bucket, Key="a")["Body"].read() == b"some bytes"


def test_unsigned_payload(s3: S3Server, bucket: str) -> None:
    """A client may leave the body out of its signature, by saying so under the signature."""
    config = Config(signature_version="s3v4", s3={"payload_signing_enabled": False})
    url = f"{s3.endpoint_url}/{bucket}/a"
    secure = url.replace("http:", "https:")  # botocore leaves the body unsigned only where TLS protects it
    headers = signed_put_headers(s3, secure, b"some bytes", client_config=config)
    assert headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    assert fetch(url, "PUT", headers, b"some bytes")[0] == 200


@only_moto
def test_body_changed_on_the_way(s3: S3Server, bucket: str) -> None:
    """A body that is not the signed one is refused."""
    url = f"{s3.endpoint_url}/{bucket}/a"
    headers = signed_put_headers(s3, url, b"some bytes")
    assert fetch(url, "PUT", headers, b"other text")[0] == 400
    assert fetch(url, "PUT", headers, b"some bytes")[0] == 200


def test_header_added_on_the_way(s3: S3Server, bucket: str) -> None:
    """An `x-amz-*` header that is not under the signature is refused."""
    url = f"{s3.endpoint_url}/{bucket}/a"
    headers = signed_put_headers(s3, url, b"some bytes")
    assert fetch(url, "PUT", headers | {"x-amz-meta-added": "1"}, b"some bytes")[0] in REFUSED
    assert fetch(url, "PUT", headers, b"some bytes")[0] == 200


def test_clock_skew(s3: S3Server, bucket: str) -> None:
    """A request signed an hour ago is refused, so a recorded one cannot be played again."""
    with patch("botocore.auth.get_current_datetime", return_value=datetime.now(UTC) - timedelta(hours=1)):
        status, code = refusal(lambda: s3.client().list_objects_v2(Bucket=bucket))
    assert status in REFUSED
    assert code in {"RequestTimeTooSkewed", "AccessDenied"}


@only_moto
def test_wrong_region(moto_s3: MotoServer, bucket: str) -> None:
    """A signature for another region is refused with the code that S3 has for it."""
    client = moto_s3.client(region_name="eu-west-1")
    assert refusal(lambda: client.list_objects_v2(Bucket=bucket)) == (400, "AuthorizationHeaderMalformed")


@only_moto
def test_conditional_write(moto_s3: MotoServer, bucket: str) -> None:
    """With `If-None-Match: *` the first writer wins and the second one is told so."""
    client = moto_s3.client()
    client.put_object(Bucket=bucket, Key="once", Body=b"first", IfNoneMatch="*")
    second = refusal(lambda: client.put_object(Bucket=bucket, Key="once", Body=b"second", IfNoneMatch="*"))
    assert second == (412, "PreconditionFailed")
    assert client.get_object(Bucket=bucket, Key="once")["Body"].read() == b"first"


@only_moto
@pytest.mark.parametrize("fault", [(403, "AccessDenied"), (404, "NoSuchKey"), (503, "SlowDown")])
def test_injected_fault(moto_s3: MotoServer, bucket: str, fault: tuple[int, str]) -> None:
    """A test can make S3 fail for certain keys, and boto3 sees it as S3's own answer."""
    client = moto_s3.client()
    client.put_object(Bucket=bucket, Key="bad key.jpg", Body=b"x")
    client.put_object(Bucket=bucket, Key="good.jpg", Body=b"x")
    moto_s3.faults.append(lambda method, path: fault if (method, path) == ("GET", f"/{bucket}/bad key.jpg") else None)
    assert refusal(lambda: client.get_object(Bucket=bucket, Key="bad key.jpg")) == fault
    assert client.get_object(Bucket=bucket, Key="good.jpg")["Body"].read() == b"x"
    assert client.head_object(Bucket=bucket, Key="bad key.jpg")["ContentLength"] == 1
    moto_s3.reset()
    assert client.get_object(Bucket=bucket, Key="bad key.jpg")["Body"].read() == b"x"


@pytest.mark.parametrize("key", ["first", "second"])
def test_faults_and_requests_belong_to_one_test(moto_s3: MotoServer, key: str) -> None:
    """Each test starts without faults and without recorded requests, whatever ran before it."""
    assert (moto_s3.faults, moto_s3.requests) == ([], [])
    moto_s3.faults.append(lambda *_: (503, "SlowDown"))
    assert refusal(lambda: moto_s3.client().get_object(Bucket="any", Key=key)) == (503, "SlowDown")


@only_moto
def test_recorded_requests(moto_s3: MotoServer, bucket: str) -> None:
    """A test can count what was asked of S3, refused requests included."""
    moto_s3.reset()
    moto_s3.client().list_objects_v2(Bucket=bucket, Prefix="a b/")
    refusal(lambda: moto_s3.client(aws_secret_access_key="wrong").get_object(Bucket=bucket, Key="é"))
    assert [seen[:3] for seen in moto_s3.requests] == [
        ("GET", f"/{bucket}", "list-type=2&prefix=a%20b%2F&encoding-type=url"),
        ("GET", f"/{bucket}/é", ""),
    ]


def test_by_hand() -> None:
    """`python -m tests.servers` prints what a shell needs to reach it, and ends on Ctrl-C."""
    command = [sys.executable, "-m", "tests.servers", "--bucket", "photos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(7)]
            exports = dict(re.findall(r"^export (\w+)=(.*)$", "".join(lines), flags=re.MULTILINE))
            by_hand = S3Server(
                "by hand", exports["AWS_ENDPOINT_URL"], exports["AWS_ACCESS_KEY_ID"], exports["AWS_SECRET_ACCESS_KEY"]
            )
            assert [found["Name"] for found in by_hand.client().list_buckets()["Buckets"]] == ["photos"]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    assert process.returncode == 0
