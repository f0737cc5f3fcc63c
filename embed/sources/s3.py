"""A prefix of an S3 bucket."""

import io
import resource
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from embed.sources.listing.ranges import Page, Question, Ranges
from embed.sources.pieces import Pieces
from embed.sources.read import Fetched, ReadFailed, Unavailable, refuse_large
from store.again import Again, at_once
from store.errors import LocationError, SourceError
from store.records import ErrorCode, SourceObject
from store.s3.client import MAX_CONNECTIONS, get_object
from store.s3.errors import S3Failure, asks_for_less, error_code, is_for_later, missing_permission, refused
from store.s3.gets import Gets
from store.s3.options import S3Options, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READERS = MAX_CONNECTIONS
"""Requests in flight: 128 at 100 ms each are 1,280 objects/s, more than a process' Python handles."""

_OPEN_FILES = 8 * READERS
"""A request takes three: a socket, and two of libcurl's own."""

PAGE_KEYS: int | None = None
"""Keys to an answer; None for as many as the service gives, which is 1,000 on S3."""

READ_AHEAD_BYTES = 16_384
"""Of a tar: a header, and the captions that follow it; the next picture is skipped."""

_OBJECT_AT_FAULT = {
    "NoSuchKey": ErrorCode.NOT_FOUND,
    "404": ErrorCode.NOT_FOUND,
    "AccessDenied": ErrorCode.FORBIDDEN,
    "403": ErrorCode.FORBIDDEN,
    "KMS.DisabledException": ErrorCode.FORBIDDEN,  # the key that this object is encrypted with
    "KMS.NotFoundException": ErrorCode.FORBIDDEN,
    "KMS.KMSInvalidStateException": ErrorCode.FORBIDDEN,
    "InvalidRequest": ErrorCode.FORBIDDEN,  # encrypted with a key of the customer's own, which the request must bring
    "InvalidObjectState": ErrorCode.ARCHIVED,
    "PreconditionFailed": ErrorCode.CHANGED,
    "412": ErrorCode.CHANGED,
}


class S3Source:
    """Every object below a prefix. A prefix is a folder here: `s3://b/train` never means `s3://b/training/…`."""

    readers = READERS
    covers = extra_columns = None

    def __init__(self, uri: str, options: S3Options, again: Again = at_once) -> None:
        """Name the prefix; nothing is asked of S3 yet. `again` is how it is asked for what lies there."""
        self._bucket, prefix = split_uri(uri)
        self._prefix = f"{prefix.removesuffix('/')}/" if prefix else ""
        self.uri = f"s3://{self._bucket}/{self._prefix}"
        _allow_open_files(_OPEN_FILES)
        self._payer = options.request_payer()
        self._client = options.client()
        # Whoever reads waits and tries again for all readers together (`embed/patience.py`), so boto3 does neither.
        self._gets = Gets(options.client(attempts=1))
        self._again = again

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield every object in the order of the keys, listed by several requests at once where there are many."""
        for items in Ranges(self._prefix, self._ask).pages():
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
                for item in items
            ]

    def _ask(self, question: Question) -> Page:
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix, **self._payer}
        if question.token:
            request["ContinuationToken"] = question.token
        elif question.after:
            request["StartAfter"] = question.after
        if question.folders:
            request["Delimiter"] = "/"
        if PAGE_KEYS is not None:
            request["MaxKeys"] = PAGE_KEYS
        answer: Any = self._asked("list", self.uri, lambda client: client.list_objects_v2(**request))
        folders = tuple(found["Prefix"] for found in answer.get("CommonPrefixes", []))
        items: Any = answer.get("Contents", [])
        return Page(items, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None, folders)

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object once, if it still is the one that was listed.

        Raise Unavailable where the service is at fault for now, SourceError where it will not pass: wrong credentials,
        no such bucket.
        """
        refuse_large(wanted.size_bytes)
        answer, data = self._read(wanted.uri, wanted.etag)
        return Fetched(data, answer.get("VersionId"))

    def look(self, named: SourceObject) -> SourceObject | None:
        """Return an object of this bucket as it is now; None where S3 does not show it, and reading will say why.

        Raise SourceError where the fault is not the object's.
        """
        where = {"Bucket": self._bucket, "Key": named.key, **self._payer}

        def head(client: "S3Client") -> Any:  # noqa: ANN401  # boto3's answer, or none
            try:
                return client.head_object(**where)
            except S3Failure as error:
                if error_code(error) in _OBJECT_AT_FAULT:
                    return None
                raise

        if (said := self._asked("read", named.uri, head)) is None:
            return None
        etag = said["ETag"].strip('"')
        return SourceObject(
            source=named.source,
            uri=named.uri,
            bucket=self._bucket,
            key=named.key,
            etag=etag,
            revision=etag,
            size_bytes=said["ContentLength"],
            last_modified=said["LastModified"],
        )

    def _asked(self, verb: str, uri: str, ask: Callable[["S3Client"], Any]) -> Any:  # noqa: ANN401  # boto3's answer
        """Return what S3 answers; raise SourceError where it refuses, or stays away."""

        def once() -> Any:  # noqa: ANN401  # as above
            try:
                return ask(self._client if self._again is at_once else self._gets.client)
            except S3Failure as error:
                raise refused(verb, uri, error) from error

        try:
            return self._again(once)
        except LocationError as error:
            raise SourceError(str(error)) from error

    def read_span(self, uri: str, etag: str, offset: int, size_bytes: int) -> bytes:
        """Read a piece of an object once, if it still is the one that was listed; raise as `fetch` does."""
        if size_bytes == 0:
            return b""
        data = self._read(uri, etag, Range=f"bytes={offset}-{offset + size_bytes - 1}")[1]
        if len(data) < size_bytes:
            raise ReadFailed(ErrorCode.TRUNCATED, f"{len(data):,} of {size_bytes:,} bytes are there")
        return data

    def open(self, wanted: SourceObject) -> BinaryIO:
        """Open an object for reading here and there; raise ReadFailed where only it is at fault, else SourceError."""
        request = {"Bucket": self._bucket, "Key": wanted.key, "IfMatch": f'"{wanted.etag}"', **self._payer}

        def read(first: int, end: int) -> bytes:
            span = f"bytes={first}-{end - 1}"
            data: bytes = self._asked(
                "read", wanted.uri, lambda client: self._piece(client, {**request, "Range": span})
            )
            return data

        return io.BufferedReader(Pieces(wanted.size_bytes, read), READ_AHEAD_BYTES)

    def _piece(self, client: "S3Client", request: dict[str, Any]) -> bytes:
        try:
            return get_object(client, **request)[1]
        except S3Failure as error:
            if error_code(error) in _OBJECT_AT_FAULT:
                raise self._at_fault(f"s3://{self._bucket}/{request['Key']}", error) from error
            raise

    def _read(self, uri: str, etag: str | None, **span: str) -> tuple[Mapping[str, Any], bytes]:
        request = {"Bucket": self._bucket, "Key": split_uri(uri)[1], "IfMatch": f'"{etag}"', **self._payer, **span}
        try:
            answer, data = self._gets.get(**request)
        except S3Failure as error:
            raise self._at_fault(uri, error) from error
        found = answer["ETag"].strip('"')
        if found != etag:  # a service that ignores If-Match
            raise ReadFailed(ErrorCode.CHANGED, f"replaced since it was listed: etag {found}")
        return answer, data

    def _at_fault(self, uri: str, error: Exception) -> ReadFailed | SourceError:
        code = error_code(error)
        if code in _OBJECT_AT_FAULT:
            missing = missing_permission(error)
            return ReadFailed(_OBJECT_AT_FAULT[code], f"S3 answered {code}{f'; it needs {missing}' if missing else ''}")
        if is_for_later(error):
            return Unavailable(code, slow_down=asks_for_less(error))
        return SourceError(str(refused("read", uri, error)))


def _allow_open_files(count: int) -> None:
    """Let this process have so many files and connections open, as far as the system lets it: macOS begins at 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if resource.RLIM_INFINITY != soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
