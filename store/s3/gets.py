"""GETs of one bucket, for a small part of what boto3 takes for each.

boto3 works out for every request where the bucket answers, what its parameters mean, how it is retried, and what it is
to be told of itself: all of it under the interpreter's lock, so a process of many threads asks no quicker for having
them. Here the first GET goes through boto3, and what it sent says where the bucket answers and in which region requests
are signed. Those that follow are signed and carried by libcurl; what S3 refuses is asked again through boto3 where more
may help than to say why.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.utils import percent_encode

from store.s3.client import get_object, whole

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from store.s3.connections import Connections

_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+(?:/[^/]+)*/\d{8}/(?P<region>[^/]+)/s3/aws4_request,")
_OF_ONE_REQUEST = {
    *("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "host", "if-match", "range"),
    *("amz-sdk-invocation-id", "amz-sdk-request", "user-agent"),
}
_HEADERS = {"IfMatch": "If-Match", "Range": "Range"}
_RESOLVED = re.compile(r"(?:^|/)\.\.?(?:/|$)")
"""Keys that a client of the web would make others of: `a/../b` is an object of its own in S3."""
_OK = {200, 206}
_FIRST_S = 1.0
_FOR_BOTO3 = {301, 302, 303, 307, 308, 400, 401, 403}
"""Elsewhere, in another region, with other credentials, at another time: boto3 knows what to do, or what to say."""


@dataclass(frozen=True)
class _Road:
    """How a bucket's objects are asked for."""

    base: str  # what stands before the key in a URL
    headers: tuple[str, ...]  # of every request
    signer: Any  # botocore's, which has the credentials of now
    connections: "Connections"
    shape: Any  # of an answer

    @classmethod
    def of(cls, client: "S3Client", sent: AWSPreparedRequest, key: str) -> "_Road | None":
        """Return the road that a request took; None where it was signed otherwise, or not at all."""
        said = {name.lower(): _text(value) for name, value in sent.headers.items()}
        signed = _SIGNED.match(said.get("authorization", ""))
        named = percent_encode(key, safe="/~")
        if signed is None or not sent.url.endswith(f"/{named}"):
            return None
        from store.s3.connections import Connections  # noqa: PLC0415  # of the extra [embed], without which --help answers

        base = sent.url.removesuffix(named)
        inside: Any = client  # which shows its credentials and how it connects to nobody
        session = inside._endpoint.http_session  # noqa: SLF001
        connections = Connections(session, base, signed["region"], said.get("user-agent", ""))
        if not connections.is_like_botocores:
            return None
        return cls(
            base,
            tuple(f"{name}: {value}" for name, value in said.items() if name not in _OF_ONE_REQUEST),
            inside._request_signer,  # noqa: SLF001
            connections,
            client.meta.service_model.operation_model("GetObject").output_shape,
        )

    def ask(self, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes] | None:
        """Return S3's answer and the body, or None where boto3 should ask; raise what boto3 raises."""
        own = [f"{header}: {request[name]}" for name, header in _HEADERS.items() if name in request]
        url = self.base + percent_encode(request["Key"], safe="/~")
        credentials = self.signer._credentials  # noqa: SLF001  # as in `of`
        said = self.connections.get(url, [*self.headers, *own], credentials.get_frozen_credentials())
        if said is None or said.status in _FOR_BOTO3:
            return None
        if said.status in _OK:
            return {"ETag": said.headers["etag"], "VersionId": said.headers.get("x-amz-version-id")}, said.body
        answer = {"status_code": said.status, "headers": HeadersDict(said.headers), "body": said.body}
        raise ClientError(create_parser("rest-xml").parse(answer, self.shape), "GetObject")


_SENT = threading.local()
"""What boto3 has sent last in this thread."""


def _note(request: AWSPreparedRequest, **_: Any) -> None:
    _SENT.request = request


class Gets:
    """Whole objects and pieces of them, of one bucket, for many threads at once."""

    def __init__(self, client: "S3Client") -> None:
        """Ask through this client."""
        self.client = client
        self._road: _Road | None = None
        self._works = self._given_up = False
        self._first, self._asked = threading.Lock(), threading.Event()
        client.meta.events.register("before-send.s3.GetObject", _note)  # which keeps nothing of this

    def get(self, **request: Any) -> tuple[Mapping[str, Any], bytes]:
        """Return ETag and VersionId of an object, and the body; raise what boto3 raises, one of S3Failure.

        `request` is Bucket, Key, and what else `get_object` takes of IfMatch, Range and RequestPayer.
        """
        road = None if _RESOLVED.search(request["Key"]) else self._road or self._found_by_another()
        if road is not None and (found := whole(partial(road.ask, request))) is not None:
            self._works = True
            return found
        try:
            return self._by_boto3(request, road)
        finally:
            self._asked.set()

    def _found_by_another(self) -> _Road | None:
        """Let the first of many threads ask alone, for a moment: boto3 would open a connection for each of them."""
        if not self._first.acquire(blocking=False):  # it stays taken
            self._asked.wait(_FIRST_S)
        return self._road

    def _by_boto3(self, request: Mapping[str, Any], refused: _Road | None) -> tuple[Mapping[str, Any], bytes]:
        _SENT.request = None
        found = get_object(self.client, **request)
        if refused is not None and not self._works:  # boto3 can what libcurl never could: each would be asked for twice
            self._given_up, self._road = True, None
        if _SENT.request is not None and refused is self._road and not self._given_up:
            self._road = _Road.of(self.client, _SENT.request, request["Key"])
        return found


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
