"""What boto3 raises, as sentences that say what to do, in which no credentials appear."""

import re

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from store.errors import LocationError, NotNow

S3Failure = (BotoCoreError, ClientError, S3UploadFailedError)
"""What boto3 raises when a request fails after its retries."""

Unreachable = HTTPClientError
"""The service could not be reached, or the connection broke, after every retry."""

BodyBrokeOff = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError)
"""A body ended early, each time that it was asked for."""

_SLOW_DOWN = {"SlowDown", "503", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "429"}
_BUSY = 503
_LATER = _SLOW_DOWN | {"InternalError", "RequestTimeout", "RequestLimitExceeded"}
_PASSES = {500, _BUSY, 502, 504, *range(520, 531)}
"""HTTP statuses that pass, whatever the code beside them: MinIO says SlowDownRead; from 520 on they are Cloudflare's.

https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
"""

EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}

_ADVICE = {
    "NoSuchBucket": "Check the bucket's name, and --endpoint-url if it is not on AWS.",
    "InvalidBucketName": "Check the bucket's name.",
    "SignatureDoesNotMatch": "The secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY or the profile.",
    "InvalidAccessKeyId": "The service does not know this access key: check AWS_ACCESS_KEY_ID, or --endpoint-url.",
    **dict.fromkeys(EXPIRED, "Renew the credentials (for example `aws sso login`), then run the same command again."),
    "PermanentRedirect": "Pass the bucket's own region with --region.",
    "AuthorizationHeaderMalformed": "Pass the bucket's own region with --region.",
    "IllegalLocationConstraintException": "Pass the bucket's own region with --region.",
    "RequestTimeTooSkewed": "Set this machine's clock: it differs from the service's by more than S3 accepts.",
}


# What a policy must allow for it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_PERMISSIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetObject": "s3:GetObject (and s3:ListBucket, without which S3 denies what does not exist)",
    "HeadObject": "s3:GetObject (and s3:ListBucket, without which S3 denies what does not exist)",
    "GetObjectTagging": "s3:GetObjectTagging",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject and s3:GetObject (of a version s3:DeleteObjectVersion)",
    "UploadPartCopy": "s3:GetObject on the source and s3:PutObject on the destination",
    "CopyObject": "s3:GetObject and s3:GetObjectTagging on the source (and s3:ListBucket, without which S3 denies what "
    "does not exist), s3:PutObject and s3:PutObjectTagging on the destination",
}
_DENIED = {"AccessDenied", "403"}


def missing_permission(error: Exception) -> str:
    """Return what IAM calls what a refused request lacked, by S3's own words or by the operation; else nothing."""
    cause = _cause(error)
    if not isinstance(cause, ClientError) or error_code(cause) not in _DENIED:
        return ""
    named = re.search(r"to perform: (s3:\w+)", str(cause))
    return named[1] if named else _PERMISSIONS.get(cause.operation_name, "this action")


def error_code(error: Exception) -> str:
    """Return S3's own error code, the HTTP status where S3 gave none, or the exception's name."""
    cause = _cause(error)
    if isinstance(cause, ClientError):
        return str(cause.response.get("Error", {}).get("Code", "")) or "ClientError"
    return type(error).__name__


def _cause(error: Exception) -> BaseException:
    """Return the answer of S3 that an upload in parts has failed with, else the error itself."""
    return error.__cause__ or error.__context__ or error if isinstance(error, S3UploadFailedError) else error


def is_for_later(error: Exception) -> bool:
    """Return True where the service is at fault for now: busy, broken inside, or out of reach."""
    away = (Unreachable, *BodyBrokeOff, CredentialRetrievalError)
    return error_code(error) in _LATER or _status(error) in _PASSES or isinstance(_cause(error), away)


def asks_for_less(error: Exception) -> bool:
    """Return True where the service is there and asks for fewer requests."""
    return error_code(error) in _SLOW_DOWN or _status(error) == _BUSY


def _status(error: Exception) -> int:
    """Return the HTTP status of an answer, 0 where there was none."""
    cause = _cause(error)
    answer = cause.response.get("ResponseMetadata", {}) if isinstance(cause, ClientError) else {}
    return int(answer.get("HTTPStatusCode", 0))


def refused(verb: str, uri: str, error: Exception) -> LocationError:
    """Turn what boto3 raised into one sentence with the way out: NotNow where trying again later is one."""
    if isinstance(error, NoCredentialsError):
        return LocationError(
            f"Cannot {verb} {uri}: no AWS credentials were found.",
            do="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose AWS_PROFILE, or give the machine a role.",
        )
    code = error_code(error)
    said = error.response.get("Error", {}).get("Message", "") if isinstance(error, ClientError) else str(error)
    advice = _ADVICE.get(code, "Check the network and the service, then run the same command again.")
    if missing := missing_permission(error):
        advice = f"Allow {missing} for these credentials in the bucket's or the role's policy."
    kind = NotNow if is_for_later(error) else LocationError
    return kind(f"Cannot {verb} {uri}: {code}{f' ({said})' if said and said != code else ''}.", do=advice)
