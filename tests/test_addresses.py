"""Where an object answers over HTTPS, and URLs that are signed to be read: right for every region and for odd keys."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import parse_qsl, unquote, urlsplit
from urllib.request import urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, EndpointConnectionError

from store.errors import LocationError, UsageError
from store.s3 import S3Options
from store.s3.addresses import LONGEST, Signer, address_in, address_of
from tests.servers import S3Server
from tests.test_apply import KEYS_OF_NO_FOLDER, ODD_KEYS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("bucket", "region", "base"),
    [
        ("photos", "us-east-1", "https://photos.s3.us-east-1.amazonaws.com/"),
        ("photos", "eu-west-3", "https://photos.s3.eu-west-3.amazonaws.com/"),
        ("photos", "cn-north-1", "https://photos.s3.cn-north-1.amazonaws.com.cn/"),
        ("photos", "us-gov-west-1", "https://photos.s3.us-gov-west-1.amazonaws.com/"),
        ("photos", "us-iso-east-1", "https://photos.s3.us-iso-east-1.c2s.ic.gov/"),
        ("photos", "moon-far-1", "https://photos.s3.moon-far-1.amazonaws.com/"),  # newer than this boto3
        ("my.photos", "eu-west-3", "https://s3.eu-west-3.amazonaws.com/my.photos/"),
        ("My_Photos", "us-east-1", "https://s3.us-east-1.amazonaws.com/My_Photos/"),
    ],
)
def test_the_address_of_a_bucket(bucket: str, region: str, base: str) -> None:
    """Virtual-hosted in the bucket's own region; a name that no certificate covers stands in the path."""
    assert address_in(bucket, region).base == base


class Answering:
    """Stands where AWS does: says the region, or why not."""

    def __init__(self, answer: Exception | str | None, endpoint: str = "https://s3.amazonaws.com") -> None:
        """Take the answer to a HEAD of a bucket."""
        self.meta = type("Meta", (), {"endpoint_url": endpoint, "region_name": "us-west-2"})
        self._answer = answer

    def head_bucket(self, **_: str) -> dict[str, object]:
        """Answer."""
        if isinstance(self._answer, Exception):
            raise self._answer
        return {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": self._answer} if self._answer else {}}}


def denied(region: str | None) -> ClientError:
    """S3's answer to who may not look at a bucket."""
    headers = {"x-amz-bucket-region": region} if region else {}
    return ClientError({"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPHeaders": headers}}, "HeadBucket")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("answer", "given", "region"),
    [
        ("eu-west-3", None, "eu-west-3"),
        ("eu-west-3", "us-east-1", "eu-west-3"),  # S3 knows better than whoever typed a region
        (denied("ap-south-1"), None, "ap-south-1"),
        (denied(None), None, None),
        (denied(None), "us-east-2", "us-east-2"),
        (EndpointConnectionError(endpoint_url="https://s3.amazonaws.com"), None, None),
        (None, None, None),
    ],
)
def test_the_region_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | str | None, given: str | None, region: str | None
) -> None:
    """S3 says the region also to who may do nothing; where it cannot be asked, an address is left out, not guessed."""
    monkeypatch.setattr(S3Options, "client", lambda *_, **__: Answering(answer))
    address = address_of("photos", S3Options(region=given))
    assert (address.region if address else None) == region


def test_another_service_is_addressed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a service that is not AWS the bucket stands in the path, below the endpoint; nothing is asked."""
    monkeypatch.setattr(S3Options, "client", lambda *_, **__: Answering(AssertionError(), "http://localhost:9000/s3"))
    address = address_of("my photos", S3Options())
    assert address is not None
    assert (address.base, address.region) == ("http://localhost:9000/s3/my%20photos/", "us-west-2")


def signer(**changed: object) -> Signer:
    """A signer of noon."""
    words: dict[str, object] = {
        "access_key": "AKIDEXAMPLE",
        "secret_key": SECRET,
        "token": None,
        "credentials_end": None,
        "at": NOW,
        "lasts": timedelta(hours=1),
    }
    return Signer(**{**words, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("token", [None, "a/token+with=all&that"])
def test_a_signature_is_botocores(monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    """For the same moment, key and credentials, the URL is that of boto3: same address, same query, same signature."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    client = boto3.client(
        "s3",
        region_name="eu-west-3",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET,
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )
    address = address_in("photos", "eu-west-3")
    for key in [*ODD_KEYS, *KEYS_OF_NO_FOLDER, "a~b_c-d.e", "(a)!*'"]:
        theirs = client.generate_presigned_url("get_object", {"Bucket": "photos", "Key": key}, ExpiresIn=3600)
        ours = signer(token=token).sign(address.url(key), address.region)
        assert unquote(urlsplit(ours).path) == unquote(urlsplit(theirs).path)
        assert dict(parse_qsl(urlsplit(ours).query)) == dict(parse_qsl(urlsplit(theirs).query))


def test_who_asks_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a requester-pays bucket the URL says so, signed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    url = Signer.of(S3Options(requester_pays=True), timedelta(hours=1)).sign("https://b.s3.x/k", "us-east-1")
    assert dict(parse_qsl(urlsplit(url).query))["x-amz-request-payer"] == "requester"


def fetched(url: str) -> tuple[int, bytes]:
    """Status and body of a URL, asked without credentials."""
    try:
        with urlopen(url) as answer:  # noqa: S310  # of a server of ours
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_server_that_verifies_lets_in(s3: S3Server, bucket: str) -> None:
    """Both servers, which verify signatures, give the object of every odd key; after its time, and changed, nothing."""
    client: S3Client = s3.client()
    address = address_of(bucket, S3Options())
    assert address is not None
    ours = Signer.of(S3Options(), timedelta(minutes=1))
    for key in [*ODD_KEYS, *(KEYS_OF_NO_FOLDER if s3.name == "moto" else [])]:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert fetched(ours.sign(address.url(key), address.region)) == (200, key.encode())
    late = signer(access_key=s3.access_key, secret_key=s3.secret_key, at=datetime.now(UTC) - timedelta(hours=2))
    assert fetched(late.sign(address.url(ODD_KEYS[0]), address.region))[0] in {400, 403}
    assert fetched(ours.sign(address.url(ODD_KEYS[0]), address.region) + "0")[0] in {400, 403}


@pytest.mark.parametrize("lasts", [timedelta(0), LONGEST + timedelta(seconds=1)])
def test_a_time_that_is_too_long(lasts: timedelta) -> None:
    """S3 takes no URL that lasts longer than seven days, so none is made."""
    with pytest.raises(UsageError, match="from a second to 7 days"):
        Signer.of(S3Options(), lasts)


def test_no_credentials() -> None:
    """Without credentials nothing can be signed, and one sentence says what to do."""
    with pytest.raises(LocationError, match=r"no AWS credentials were found\..*AWS_PROFILE"):
        Signer.of(S3Options(), timedelta(hours=1))


def test_credentials_that_end_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """URLs end with temporary credentials, which is said where that is sooner, or where nobody knows when it is."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)

    def temporary() -> dict[str, str]:
        return {"access_key": "ASIA", "secret_key": SECRET, "token": "t", "expiry_time": end.isoformat()}

    refreshed = RefreshableCredentials.create_from_metadata(temporary(), temporary, "test")
    monkeypatch.setattr("boto3.session.Session.get_credentials", lambda _: refreshed)
    long, short = (Signer.of(S3Options(), timedelta(hours=hours)) for hours in (3, 1))
    assert (long.until, short.until) == (end, short.at + timedelta(hours=1))
    assert re.search(rf"end with the credentials .* {end:%H:%M} UTC, before .*clipsieve presign", long.warning or "")
    assert short.warning is None
    for token, warned in (("t", True), (None, False)):
        monkeypatch.setattr("boto3.session.Session.get_credentials", lambda _, t=token: Credentials("A", SECRET, t))
        assert ("nobody here knows when they end" in (Signer.of(S3Options(), LONGEST).warning or "")) == warned


def test_secrets_are_not_shown() -> None:
    """Whoever prints a signer sees neither secret nor token, nor what was made of them."""
    shown = signer(token="a-token")
    shown.sign("https://b.s3.x/k", "us-east-1")
    assert SECRET not in repr(shown)
    assert "a-token" not in repr(shown)
