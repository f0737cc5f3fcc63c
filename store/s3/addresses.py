"""Where an object answers over HTTPS: its bucket's address in its own region, and URLs that are signed to be read.

Addresses: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
Signatures: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, UnknownRegionError
from botocore.utils import check_dns_name

from store.errors import LocationError, UsageError
from store.s3 import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LONGEST = timedelta(days=7)
"""Of a presigned URL: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html."""

_UNRESERVED = "~"
"""Beside letters, digits and `_.-`, which `quote` leaves as they are."""
_AWS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True)
class Address:
    """Where the objects of a bucket answer: a key's URL is `base` and the key, percent-encoded."""

    base: str  # ends in /
    region: str

    def url(self, key: str) -> str:
        """Return an object's URL."""
        return self.base + quote(key, safe=f"/{_UNRESERVED}")


def address_of(bucket: str, options: S3Options) -> Address | None:
    """Return a bucket's address; None where nobody can tell its region.

    S3 says the region to whoever asks, also to those who may do nothing else there.
    """
    client = options.client(attempts=2)
    endpoint = urlsplit(client.meta.endpoint_url)
    if not (endpoint.hostname or "").endswith(_AWS):
        region: str = client.meta.region_name
        own = f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path.rstrip('/')}/{quote(bucket)}/"
        return Address(own, region if region != "aws-global" else "us-east-1")
    said = _region(client, bucket) or options.region
    return address_in(bucket, said) if said else None


def address_in(bucket: str, region: str) -> Address:
    """Return the address of a bucket in a region of AWS: virtual-hosted, where its name can be part of a host's.

    No certificate is of a name with dots, and no host has capitals or underscores, which old buckets may have.
    """
    suffix = _suffixes().get(_partition(region), "amazonaws.com")
    host = f"s3.{region}.{suffix}"
    if check_dns_name(bucket) and "." not in bucket:
        return Address(f"https://{bucket}.{host}/", region)
    return Address(f"https://{host}/{bucket}/", region)


@cache
def _suffixes() -> dict[str, str]:
    """Return what the names of hosts end with, by partition: in China, in GovCloud and elsewhere."""
    known = botocore.session.get_session().get_data("partitions")["partitions"]
    return {partition["id"]: partition["outputs"]["dnsSuffix"] for partition in known}


def _partition(region: str) -> str:
    try:
        return str(botocore.session.get_session().get_partition_for_region(region))
    except UnknownRegionError:
        return "aws"


def _region(client: "S3Client", bucket: str) -> str | None:
    try:
        answer: Mapping[str, Any] = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    except BotoCoreError:
        return None
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    region: str | None = headers.get("x-amz-bucket-region")
    return region


@dataclass(frozen=True)
class Signer:
    """Signs URLs with the credentials that boto3's chain has found, all at one moment and for one time."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    credentials_end: datetime | None  # None: never, or nobody knows
    at: datetime
    lasts: timedelta
    payer: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: S3Options, lasts: timedelta) -> "Signer":
        """Take the credentials as they are now; raise LocationError where there are none, UsageError for the time."""
        require_lasting(lasts)
        try:
            found = boto3.session.Session().get_credentials()
            frozen = found.get_frozen_credentials() if found else None
        except BotoCoreError as error:
            raise LocationError(f"Cannot sign URLs: {error}.", do="Renew the credentials.") from error
        if found is None or frozen is None or not frozen.access_key or not frozen.secret_key:
            raise LocationError(
                "Cannot sign URLs: no AWS credentials were found.",
                do="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose AWS_PROFILE, or give the machine a role.",
            )
        payer = {"x-amz-request-payer": "requester"} if options.requester_pays else {}
        end = getattr(found, "_expiry_time", None)  # botocore keeps it to itself
        now = datetime.now(UTC).replace(microsecond=0)
        return cls(frozen.access_key, frozen.secret_key, frozen.token, end, now, lasts, payer)

    @property
    def until(self) -> datetime:
        """When the URLs end: at the time that was asked for, or with the credentials."""
        asked = self.at + self.lasts
        return min(asked, self.credentials_end) if self.credentials_end else asked

    @property
    def warning(self) -> str | None:
        """What is to be said where the URLs may end sooner than was asked for."""
        asked = f"{self.at + self.lasts:%Y-%m-%d %H:%M} UTC"
        if self.credentials_end and self.credentials_end < self.at + self.lasts:
            return (
                f"The presigned URLs end with the credentials that signed them, {self.until:%Y-%m-%d %H:%M} UTC, "
                f"before {asked}. Sign with the keys of an IAM user, or run `clipsieve presign RUN` again in time."
            )
        if self.token and not self.credentials_end:
            return (
                f"The credentials are temporary, and nobody here knows when they end: the presigned URLs may end "
                f"before {asked}. Sign with the keys of an IAM user, or run `clipsieve presign RUN` again in time."
            )
        return None

    def sign(self, url: str, region: str) -> str:
        """Return a URL of S3 with what allows anybody to read it, until then."""
        origin, path = url[: url.index("/", len("https://"))], url[url.index("/", len("https://")) :]
        query, scope, key = self._parts(region)
        request = f"GET\n{path}\n{query}\nhost:{origin.partition('://')[2]}\n\nhost\nUNSIGNED-PAYLOAD"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = _hmac(key, f"AWS4-HMAC-SHA256\n{self._stamp}\n{scope}\n{digest}").hex()
        return f"{url}?{query}&X-Amz-Signature={signature}"

    @cached_property
    def _stamp(self) -> str:
        return f"{self.at:%Y%m%dT%H%M%SZ}"

    def _parts(self, region: str) -> tuple[str, str, bytes]:
        """Return the query, the scope and the signing key for a region; these are the same for every object."""
        if region not in self._by_region:
            day = self._stamp[:8]
            scope = f"{day}/{region}/s3/aws4_request"
            key = f"AWS4{self.secret_key}".encode()
            for part in (day, region, "s3", "aws4_request"):
                key = _hmac(key, part)
            said = {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"{self.access_key}/{scope}",
                "X-Amz-Date": self._stamp,
                "X-Amz-Expires": f"{int(self.lasts.total_seconds())}",
                **({"X-Amz-Security-Token": self.token} if self.token else {}),
                "X-Amz-SignedHeaders": "host",
                **self.payer,
            }
            query = "&".join(f"{name}={quote(said[name], safe=_UNRESERVED)}" for name in sorted(said))
            self._by_region[region] = query, scope, key
        return self._by_region[region]

    @cached_property
    def _by_region(self) -> dict[str, tuple[str, str, bytes]]:
        return {}


def require_lasting(lasts: timedelta) -> None:
    """Raise UsageError for a time that no presigned URL can last."""
    if not timedelta(seconds=1) <= lasts <= LONGEST:
        raise UsageError(
            f"A presigned URL lasts from a second to {LONGEST.days} days, not {lasts}.",
            "S3 refuses a longer one.",
            "Give a shorter time, and run `clipsieve presign RUN` again before it ends.",
        )


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
