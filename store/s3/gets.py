"""GETs of one bucket, for much less of a core than boto3 takes for each.

boto3 works out for every request where the bucket answers, what its parameters mean, how it is retried, and what it is
to be told of itself: all of it under the interpreter's lock, so a process of many threads asks no quicker for having
them. Here the first GET goes through boto3, and what it sent says where the bucket answers and in
which region requests are signed. Those that follow are signed by the same code and go over the same connections; what
S3 refuses is asked again through boto3 where more may help than to say why.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import create_parser
from botocore.response import StreamingBody
from botocore.utils import percent_encode

from store.s3.client import get_object, whole

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+(?:/[^/]+)*/\d{8}/(?P<region>[^/]+)/s3/aws4_request,")
_OF_ONE_REQUEST = {
    *("authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "host", "if-match", "range"),
    *("amz-sdk-invocation-id", "amz-sdk-request"),
}
_HEADERS = {"IfMatch": "If-Match", "Range": "Range"}
_OK = {200, 206}
_FOR_BOTO3 = {301, 302, 303, 307, 308, 400, 401, 403}
"""Elsewhere, in another region, with other credentials, at another time: boto3 knows what to do, or what to say."""


@dataclass(frozen=True)
class _Road:
    """How a bucket's objects are asked for."""

    base: str  # what stands before the key in a URL
    region: str
    headers: dict[str, str]  # of every request
    credentials: Any  # botocore's, which renew themselves where they can
    connections: Any  # botocore's
    shape: Any  # of an answer

    @classmethod
    def of(cls, client: "S3Client", sent: AWSPreparedRequest, key: str) -> "_Road | None":
        """Return the road that a request took; None where it was signed otherwise, or not at all."""
        said = {name: _text(value) for name, value in sent.headers.items()}
        signed = _SIGNED.match(next((said[name] for name in said if name.lower() == "authorization"), ""))
        named = percent_encode(key, safe="/~")
        if signed is None or not sent.url.endswith(f"/{named}"):
            return None
        headers = {name: value for name, value in said.items() if name.lower() not in _OF_ONE_REQUEST}
        inside: Any = client  # which shows its credentials and its connections to nobody
        return cls(
            sent.url.removesuffix(named),
            signed["region"],
            headers,
            inside._request_signer._credentials,  # noqa: SLF001
            inside._endpoint.http_session,  # noqa: SLF001
            client.meta.service_model.operation_model("GetObject").output_shape,
        )

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return S3's answer as boto3 would, or None where boto3 should ask; raise what boto3 raises."""
        own = {_HEADERS[name]: value for name, value in request.items() if name in _HEADERS}
        url = self.base + percent_encode(request["Key"], safe="/~")
        asked = AWSRequest("GET", url, {**self.headers, **own}, stream_output=True)
        S3SigV4Auth(self.credentials.get_frozen_credentials(), "s3", self.region).add_auth(asked)
        answer = self.connections.send(asked.prepare())
        if answer.status_code in _OK:
            body = StreamingBody(answer.raw, answer.headers.get("content-length"))
            return {"Body": body, "ETag": answer.headers["ETag"], "VersionId": answer.headers.get("x-amz-version-id")}
        said = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
        if answer.status_code in _FOR_BOTO3:
            return None
        raise ClientError(create_parser("rest-xml").parse(said, self.shape), "GetObject")


class Gets:
    """Whole objects and pieces of them, of one bucket, for many threads at once."""

    def __init__(self, client: "S3Client") -> None:
        """Ask through this client."""
        self.client = client
        self._road: _Road | None = None
        self._sent = threading.local()
        client.meta.events.register("before-send.s3.GetObject", self._note)

    def get(self, **request: Any) -> tuple[Mapping[str, Any], bytes]:
        """Return ETag and VersionId of an object, and the body; raise what boto3 raises, one of S3Failure.

        `request` is Bucket, Key, and what else `get_object` takes of IfMatch, Range and RequestPayer.
        """
        road = self._road
        if road is not None and (found := whole(partial(road.ask, request))) is not None:
            return found
        self._sent.request = None
        found = get_object(self.client, **request)
        if (sent := self._sent.request) is not None:
            self._road = _Road.of(self.client, sent, request["Key"])
        return found

    def _note(self, request: AWSPreparedRequest, **_: Any) -> None:
        self._sent.request = request


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
