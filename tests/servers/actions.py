"""Which permissions a request needs, as an IAM policy names them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.signature import SignedRequest


class Permission(NamedTuple):
    """An action on a bucket (`photos`) or on an object (`photos/a.jpg`); of a listing also its prefix."""

    action: str
    resource: str
    prefix: str | None = None


_OF_A_BUCKET = {
    "versioning": "s3:GetBucketVersioning",
    "versions": "s3:ListBucketVersions",
    "uploads": "s3:ListBucketMultipartUploads",
    "location": "s3:GetBucketLocation",
}
_OF_AN_OBJECT = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


def permissions(request: SignedRequest, is_tagged: Callable[[str], bool] = lambda _: False) -> list[Permission]:
    """What AWS asks of the caller's policies before it answers this request.

    `is_tagged` tells of an object, `photos/a.jpg`, whether it has tags: a copy takes them along, which needs more.
    """
    query = parse_qs(request.query, keep_blank_values=True)
    path = unquote(request.raw_path).removeprefix("/")
    bucket, _, key = path.partition("/")
    if not key:
        prefix = query.get("prefix", [None])[0]
        return [Permission(_of_a_bucket(request.method, query), bucket, prefix)]
    if "tagging" in query:
        verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}[request.method]
        return [Permission(f"s3:{verb}ObjectTagging", path)]
    needed = [Permission(_of_an_object(request.method, query), path)]
    if source := request.headers.get("x-amz-copy-source"):
        of_source = unquote(urlsplit(source).path).removeprefix("/")
        needed.append(Permission("s3:GetObject", of_source))
        whole = "partNumber" not in query and request.headers.get("x-amz-tagging-directive") != "REPLACE"
        if whole and is_tagged(of_source):
            needed += [Permission("s3:GetObjectTagging", of_source), Permission("s3:PutObjectTagging", path)]
    if request.method == "DELETE" and "if-match" in request.headers:
        needed.append(Permission("s3:GetObject", path))
    if request.headers.get("x-amz-tagging"):
        needed.append(Permission("s3:PutObjectTagging", path))
    return needed


def read_objects(request: SignedRequest) -> list[str]:
    """The objects, as `photos/a.jpg`, that a request reads or copies."""
    path = unquote(request.raw_path).removeprefix("/")
    read = [path] if request.method in {"GET", "HEAD"} and path.partition("/")[2] else []
    source = request.headers.get("x-amz-copy-source")
    return [*read, *([unquote(urlsplit(source).path).removeprefix("/")] if source else [])]


def _of_a_bucket(method: str, query: dict[str, list[str]]) -> str:
    if method == "GET":
        return next((action for name, action in _OF_A_BUCKET.items() if name in query), "s3:ListBucket")
    return {"PUT": "s3:CreateBucket", "HEAD": "s3:ListBucket", "DELETE": "s3:DeleteBucket"}.get(method, "s3:?")


def _of_an_object(method: str, query: dict[str, list[str]]) -> str:
    if method == "DELETE" and "uploadId" in query:
        return "s3:AbortMultipartUpload"
    action = _OF_AN_OBJECT[method]
    return f"{action}Version" if "versionId" in query and method in {"GET", "HEAD", "DELETE"} else action
