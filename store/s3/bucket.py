"""A prefix of a bucket as `apply` and `undo` see it: what lies there, in which versions, and how to take one back.

Versions: https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
Conditional deletes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from store.s3.errors import S3Failure, error_code, missing_permission, refused
from store.s3.options import S3Options, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GONE = {"NoSuchKey", "NoSuchVersion", "404"}
NOT_THIS_ONE = {"PreconditionFailed", "412"}
FORBIDDEN = {"AccessDenied", "403"}
_BLOCK_BYTES = 1 << 20
_DOES_NOT_KNOW = {"NotImplemented", "MethodNotAllowed", "501", "405"}


@dataclass(frozen=True)
class Found:
    """One object, or one version of one, as a listing or a HEAD shows it."""

    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    version_id: str | None = None


class TakenBack(StrEnum):
    """What became of an object that was to be deleted."""

    DELETED = "deleted"
    GONE = "gone"  # somebody else has deleted it
    NOT_OURS = "not_ours"  # it is another one now, and stays
    FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class Clock:
    """The service's clock, as far ahead of ours as its answers say."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return the service's time, to about a second."""
        return datetime.now(UTC) + self.ahead


class Bucket:
    """Every key that starts with a prefix."""

    def __init__(self, uri: str, options: S3Options, *, honours_conditions: bool | None = None) -> None:
        """Name bucket and prefix; nothing is asked of S3 yet.

        AWS honours conditions of writes and deletes; another service may ignore them without a word, so it is asked
        before each step, unless the caller knows better.
        """
        self.bucket, self.prefix = split_uri(uri)
        self._client, self._payer = options.client(), options.request_payer()
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        is_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        self.honours_conditions = is_aws if honours_conditions is None else honours_conditions
        self.clock = Clock()
        """As the last listing said."""

    @property
    def uri(self) -> str:
        """Bucket and prefix as a URI."""
        return f"s3://{self.bucket}/{self.prefix}"

    def objects(self) -> Iterator[list[Found]]:
        """Yield what lies here now, one page of the listing at a time."""
        for page in self._pages("list_objects_v2"):
            yield [_listed(item) for item in page.get("Contents", [])]

    def versions(self) -> Iterator[list[Found]]:
        """Yield every version that lies here, also those that newer ones or delete markers hide."""
        for page in self._pages("list_object_versions"):
            yield [_listed(item) for item in page.get("Versions", [])]

    def keeps_versions(self) -> bool:
        """Whether this bucket keeps versions, or has done so once."""
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=self.bucket)
        except S3Failure as error:
            if error_code(error) in _DOES_NOT_KNOW:
                return False
            raise refused("ask about versions in", f"s3://{self.bucket}", error) from error

    def sha256(self, found: Found) -> str:
        """Read an object, or the version of it, and return the sha256 of its bytes."""
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": found.key, **self._payer}
        if found.version_id is not None:
            request["VersionId"] = found.version_id
        digest = hashlib.sha256()
        try:
            with contextlib.closing(self._client.get_object(**request)["Body"]) as body:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    digest.update(block)
        except S3Failure as error:
            raise refused("read", f"s3://{self.bucket}/{found.key}", error) from error
        return digest.hexdigest()

    def take_back(self, found: Found) -> tuple[TakenBack, str | None]:
        """Delete this very object: a version by its id, else only while the key still holds it. Say why not.

        Raise LocationError where the fault is not the object's.
        """
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": found.key, **self._payer}
        try:
            if found.version_id is not None:
                request["VersionId"] = found.version_id
            elif self.honours_conditions:
                request["IfMatch"] = f'"{found.etag}"'
            elif (there := head(self._client, Bucket=self.bucket, Key=found.key, **self._payer)) is None:
                return TakenBack.GONE, None
            elif (there.etag, there.size_bytes) != (found.etag, found.size_bytes):
                return TakenBack.NOT_OURS, None
            self._client.delete_object(**request)
        except S3Failure as error:
            code = error_code(error)
            for codes, outcome in _WHY_NOT.items():
                if code in codes:
                    return outcome, said(error)
            raise refused("delete", f"s3://{self.bucket}/{found.key}", error) from error
        return TakenBack.DELETED, None

    def abort(self, key: str, upload_id: str) -> None:
        """Drop what an unfinished upload has left; do nothing where it is finished or gone."""
        try:
            self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id, **self._payer)
        except S3Failure as error:
            if error_code(error) not in {"NoSuchUpload", "404"}:
                raise refused("abort the upload of", f"s3://{self.bucket}/{key}", error) from error

    def _pages(self, verb: Literal["list_objects_v2", "list_object_versions"]) -> Iterator[Mapping[str, Any]]:
        paginator: Any = self._client.get_paginator(verb)
        try:
            for page in paginator.paginate(Bucket=self.bucket, Prefix=self.prefix, **self._payer):
                self.clock = _clock(page["ResponseMetadata"]["HTTPHeaders"])
                yield page
        except S3Failure as error:
            raise refused("list", self.uri, error) from error


_WHY_NOT = {
    frozenset(GONE): TakenBack.GONE,
    frozenset(NOT_THIS_ONE): TakenBack.NOT_OURS,
    frozenset(FORBIDDEN): TakenBack.FORBIDDEN,
}


def head(client: "S3Client", **request: Any) -> Found | None:
    """Return what a key holds now, or None where it holds nothing. Raise what boto3 raises."""
    try:
        answer = client.head_object(**request)
    except ClientError as error:
        if error_code(error) in GONE:
            return None
        raise
    return Found(
        key=request["Key"],
        etag=answer["ETag"].strip('"'),
        size_bytes=answer["ContentLength"],
        last_modified=answer["LastModified"],
        version_id=answer.get("VersionId"),
    )


def _clock(headers: Mapping[str, str]) -> Clock:
    said = headers.get("date")
    return Clock(parsedate_to_datetime(said) - datetime.now(UTC)) if said else Clock()


def said(error: Exception) -> str:
    """Return S3's own words in one line, with what a policy must allow where something is not allowed."""
    words = error.response.get("Error", {}).get("Message", "") if isinstance(error, ClientError) else str(error)
    missing = missing_permission(error)
    needs = f" (it needs {missing})" if missing and missing not in words else ""
    return " ".join(f"{error_code(error)} {words}"[:300].split()) + needs


def _listed(item: Mapping[str, Any]) -> Found:
    etag, version = item["ETag"].strip('"'), item.get("VersionId")
    return Found(item["Key"], etag, item["Size"], item["LastModified"], version)
