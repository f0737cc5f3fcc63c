"""The conditions of a copy, which moto reads over: the source's etag, and that the destination's key is free.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from urllib.parse import parse_qs, unquote, urlsplit

from moto.backends import get_backend
from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeKey, S3Backend

from tests.servers.signature import Refused, SignedRequest


def check_conditions(request: SignedRequest) -> None:
    """Raise Refused where moto would go on although a condition of the request does not hold."""
    query = parse_qs(request.query, keep_blank_values=True)
    source = request.headers.get("x-amz-copy-source")
    if source is not None and (wanted := request.headers.get("x-amz-copy-source-if-match")):
        bucket, _, key = unquote(urlsplit(source).path).removeprefix("/").partition("/")
        there = _current(bucket, key)
        if there is not None and there.etag.strip('"') != wanted.strip('"'):
            raise Refused(412, "PreconditionFailed", "The source is another object: x-amz-copy-source-If-Match.")
    makes_an_object = (source is not None and "uploadId" not in query) or _completes(request, query)
    if makes_an_object and request.headers.get("if-none-match") == "*":
        bucket, _, key = unquote(request.raw_path).removeprefix("/").partition("/")
        if _current(bucket, key) is not None:
            raise Refused(412, "PreconditionFailed", "The key is taken: If-None-Match.")


def is_tagged(path: str) -> bool:
    """Whether the object `bucket/key` has tags."""
    bucket, _, key = path.partition("/")
    there = _current(bucket, key)
    return there is not None and bool(_backend().get_object_tagging(there)["Tags"])


def exists(path: str) -> bool:
    """Whether the key of `bucket/key` holds an object."""
    bucket, _, key = path.partition("/")
    return _current(bucket, key) is not None


def _completes(request: SignedRequest, query: dict[str, list[str]]) -> bool:
    return request.method == "POST" and "uploadId" in query


def _current(bucket: str, key: str) -> FakeKey | None:
    try:
        return _backend().get_object(bucket, key)
    except MissingBucket:
        return None


def _backend() -> S3Backend:
    backend: S3Backend
    (backend,) = (account["aws"] for account in get_backend("s3").values())
    return backend
