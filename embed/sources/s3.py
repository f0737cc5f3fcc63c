"""A prefix of an S3 bucket."""

from collections.abc import Iterator

from embed.sources.read import Fetched, ReadFailed, refuse_large
from store.errors import SourceError
from store.records import ErrorCode, SourceObject
from store.s3 import (
    BodyBrokeOff,
    S3Failure,
    S3Options,
    Unreachable,
    error_code,
    get_object,
    missing_permission,
    refused,
    split_uri,
)

READERS = 32
"""Requests in flight: at 50 ms each, 640 objects/s."""

_OBJECT_AT_FAULT = {
    "NoSuchKey": ErrorCode.NOT_FOUND,
    "404": ErrorCode.NOT_FOUND,
    "AccessDenied": ErrorCode.FORBIDDEN,
    "403": ErrorCode.FORBIDDEN,
    "InvalidObjectState": ErrorCode.ARCHIVED,
    "PreconditionFailed": ErrorCode.CHANGED,
    "412": ErrorCode.CHANGED,
}
_SERVICE_AT_FAULT = {"500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout"}


class S3Source:
    """Every object below a prefix. A prefix is a folder here: `s3://b/train` never means `s3://b/training/…`."""

    readers = READERS

    def __init__(self, uri: str, options: S3Options) -> None:
        """Name the prefix; nothing is asked of S3 yet."""
        self._bucket, prefix = split_uri(uri)
        self._prefix = f"{prefix.removesuffix('/')}/" if prefix else ""
        self.uri = f"s3://{self._bucket}/{self._prefix}"
        self._client, self._payer = options.client(), options.request_payer()

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every object, one page of `list_objects_v2` at a time."""
        paginator = self._client.get_paginator("list_objects_v2")
        try:
            for page in paginator.paginate(Bucket=self._bucket, Prefix=self._prefix, **self._payer):
                yield [
                    SourceObject(
                        source=self.uri,
                        uri=f"s3://{self._bucket}/{item['Key']}",
                        bucket=self._bucket,
                        key=item["Key"],
                        etag=item["ETag"].strip('"'),
                        revision=item["ETag"].strip('"'),
                        size_bytes=item["Size"],
                        last_modified=item["LastModified"],
                    )
                    for item in page.get("Contents", [])
                ]
        except S3Failure as error:
            raise SourceError(str(refused("list", self.uri, error))) from error

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object, if it still is the one that was listed.

        Raise SourceError where the fault is not the object's: wrong credentials, no such bucket.
        """
        refuse_large(wanted.size_bytes)
        request = {"Bucket": self._bucket, "Key": wanted.key, "IfMatch": f'"{wanted.etag}"', **self._payer}
        try:
            answer, data = get_object(self._client, **request)
        except S3Failure as error:
            raise self._at_fault(wanted, error) from error
        etag = answer["ETag"].strip('"')
        if etag != wanted.etag:  # a service that ignores If-Match
            raise ReadFailed(ErrorCode.CHANGED, f"replaced since it was listed: etag {etag}")
        return Fetched(data, answer.get("VersionId"))

    def _at_fault(self, wanted: SourceObject, error: Exception) -> ReadFailed | SourceError:
        code = error_code(error)
        if code in _OBJECT_AT_FAULT:
            missing = missing_permission(error)
            return ReadFailed(_OBJECT_AT_FAULT[code], f"S3 answered {code}{f'; it needs {missing}' if missing else ''}")
        if code in _SERVICE_AT_FAULT or isinstance(error, (Unreachable, *BodyBrokeOff)):
            return ReadFailed(ErrorCode.READ_FAILED, f"{code} after every retry")
        return SourceError(str(refused("read", wanted.uri, error)))
