"""How S3 is named and reached, without boto3, which takes longer to load than most questions take to answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import LocationError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Options:
    """How to reach S3. None means what the environment and the profile say."""

    endpoint_url: str | None = None
    region: str | None = None
    requester_pays: bool = False

    def client(self, attempts: int = 8) -> "S3Client":
        """Return a client for many threads at once, with standard retries (500, 503 SlowDown, timeouts, resets)."""
        from store.s3.client import client  # noqa: PLC0415  # boto3

        return client(self, attempts)

    def request_payer(self) -> dict[str, Any]:
        """Return the request parameter for requester-pays buckets, or nothing."""
        return {"RequestPayer": "requester"} if self.requester_pays else {}


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key or prefix of `s3://bucket/rest`; the rest is taken as it is, whatever it holds."""
    bucket, _, rest = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise LocationError(f"{uri!r} names no bucket.", do="Write s3://BUCKET/PREFIX/.")
    return bucket, rest
