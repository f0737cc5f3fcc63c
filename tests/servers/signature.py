"""Does a request carry a valid AWS Signature Version 4? One answer per request: nothing, or a `Refused`.

The canonical request, the string to sign and the signature come from botocore's own signer; only what a server does and
a client does not is written here: reading the claim, its time and its scope, and hashing the body that arrived.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html (the `Authorization` header)
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html        (presigned URLs)

For the `STREAMING-*` modes the signature of the request itself is verified, but not the one of each chunk, nor the
checksum in the trailer.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from botocore.auth import SIGV4_TIMESTAMP, UNSIGNED_PAYLOAD, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
CLOCK_SKEW = timedelta(minutes=15)
LONGEST_EXPIRY_S = 7 * 24 * 3600
STREAMING_PAYLOADS = frozenset(
    {
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    },
)


class Refused(Exception):
    """S3's answer to a request that it does not accept: an HTTP status and one of S3's error codes.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        """`message` is for people; programs read `status` and `code`."""
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class SignedRequest:
    """A request as it arrived: `raw_path` and `query` still percent-encoded, `body` as framed by the client."""

    method: str
    raw_path: str
    query: str
    headers: HTTPHeaders
    body: bytes


@dataclass(frozen=True)
class _Claim:
    """What a request says of its own signature."""

    credential: str  # access key/date/region/service/aws4_request
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    expires_s: int | None  # only a presigned URL has one
    parameters: dict[str, str]  # the query, decoded, without the signature


class _ReceivedSignature(S3SigV4Auth):
    """botocore's signer run on the server's side: it signs the headers that the client names, and no others."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002 - the signature is botocore's
        return UNSIGNED_PAYLOAD


def verify(request: SignedRequest, credentials: Credentials, region: str, now: datetime | None = None) -> None:
    """Raise a `Refused` unless the request is signed, in time, by these credentials, for S3 in this region."""
    claim = _read_claim(request)
    access_key, _, scope = claim.credential.partition("/")
    if access_key != credentials.access_key:
        raise Refused(403, "InvalidAccessKeyId", "The access key is not known here.")
    if scope != f"{claim.timestamp[:8]}/{region}/s3/aws4_request":
        raise Refused(400, "AuthorizationHeaderMalformed", f"Wrong credential scope; expecting {region}")
    _check_time(claim, now or datetime.now(UTC))
    _check_signed_headers(request, claim)
    expected = _expected_signature(request, claim, credentials, region)
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise Refused(403, "SignatureDoesNotMatch", "The signature is not the calculated one.")
    _check_body(request, presigned=claim.expires_s is not None)


def _read_claim(request: SignedRequest) -> _Claim:
    parameters = dict(parse_qsl(request.query, keep_blank_values=True))
    authorization = request.headers.get("Authorization", "")
    try:
        if authorization.startswith(ALGORITHM):
            fields = dict(re.findall(r"(\w+)=([^,\s]+)", authorization))
            return _Claim(
                credential=fields["Credential"],
                signed_headers=tuple(fields["SignedHeaders"].split(";")),
                signature=fields["Signature"],
                timestamp=request.headers.get("X-Amz-Date", ""),
                expires_s=None,
                parameters=parameters,
            )
        if parameters.get("X-Amz-Algorithm") == ALGORITHM:
            return _Claim(
                credential=parameters["X-Amz-Credential"],
                signed_headers=tuple(parameters["X-Amz-SignedHeaders"].split(";")),
                signature=parameters["X-Amz-Signature"],
                timestamp=parameters["X-Amz-Date"],
                expires_s=int(parameters["X-Amz-Expires"]),
                parameters={name: value for name, value in parameters.items() if name != "X-Amz-Signature"},
            )
    except (KeyError, ValueError) as error:
        raise Refused(400, "AuthorizationHeaderMalformed", f"Missing or bad part: {error}") from error
    raise Refused(403, "AccessDenied", "Access Denied: the request is not signed.")


def _check_time(claim: _Claim, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(claim.timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError as error:
        raise Refused(403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from error
    if claim.expires_s is None:
        if abs(now - signed_at) > CLOCK_SKEW:
            raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
        return
    if not 0 < claim.expires_s <= LONGEST_EXPIRY_S:
        raise Refused(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be 1 to 604800 seconds")
    if signed_at > now + CLOCK_SKEW:
        raise Refused(403, "AccessDenied", "Request is not yet valid")
    if now > signed_at + timedelta(seconds=claim.expires_s):
        raise Refused(403, "AccessDenied", "Request has expired")


def _check_signed_headers(request: SignedRequest, claim: _Claim) -> None:
    """`Host` and every `x-amz-*` header must be under the signature, else they could be changed on the way."""
    must_be_signed = {"host"} | {name.lower() for name in request.headers if name.lower().startswith("x-amz-")}
    unsigned = must_be_signed - set(claim.signed_headers)
    if unsigned:
        raise Refused(403, "AccessDenied", f"Headers that were not signed: {unsigned}")


def _expected_signature(request: SignedRequest, claim: _Claim, credentials: Credentials, region: str) -> str:
    signer = _ReceivedSignature(credentials, "s3", region)
    signed = AWSRequest(
        method=request.method,
        # Clients differ in what they leave unencoded on the wire; the canonical form is encoded once, from the decoded.
        url=f"http://{request.headers['Host']}{quote(unquote_to_bytes(request.raw_path), safe='/-_.~')}",
        headers={name: request.headers[name] for name in claim.signed_headers if name in request.headers},
        params=claim.parameters,
    )
    signed.context["timestamp"] = claim.timestamp
    return signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed)


def _check_body(request: SignedRequest, *, presigned: bool) -> None:
    stated = request.headers.get("X-Amz-Content-SHA256", UNSIGNED_PAYLOAD if presigned else "")
    if stated == UNSIGNED_PAYLOAD or stated in STREAMING_PAYLOADS:
        return
    if not re.fullmatch("[0-9a-f]{64}", stated):
        raise Refused(400, "InvalidArgument", f"Not a valid x-amz-content-sha256: {stated!r}")
    if hashlib.sha256(request.body).hexdigest() != stated:
        raise Refused(400, "XAmzContentSHA256Mismatch", "The body is not the one that was signed.")
