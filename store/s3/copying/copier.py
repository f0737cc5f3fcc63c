"""One object copied on the server's side: only if it still is the one that was judged, and never over another one.

CopyObject, and what it keeps: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from store.pace import Pace
from store.s3.bucket import FORBIDDEN, GONE, NOT_THIS_ONE, Bucket, Found, head, said
from store.s3.copying.multipart import PartsCopy
from store.s3.copying.records import KEEP, CopyOptions, Outcome, Result, Wanted
from store.s3.errors import BodyBrokeOff, S3Failure, Unreachable, error_code, refused
from store.s3.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_ATTEMPTS = 10
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 20.0

_SLOW_DOWN = {"SlowDown", "503", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "TooManyRequests", "429"}
_TRY_AGAIN = _SLOW_DOWN | {
    *("500", "502", "504", "InternalError", "RequestTimeout"),
    *("OperationAborted", "ConditionalRequestConflict"),  # somebody writes the same key at this moment
}
_OF_THIS_OBJECT = {
    "InvalidObjectState": "in an archive class; restore it first",
    "KeyTooLongError": "the key is too long",
    "InvalidRequest": "",
    "EntityTooLarge": "",
}


class Copier:
    """Copies objects into one bucket; used by many threads."""

    def __init__(
        self,
        to: Bucket,
        s3: S3Options,
        options: CopyOptions,
        pace: Pace,
        on_upload: Callable[[Wanted, str], None],
    ) -> None:
        """Call `on_upload(wanted, upload_id)` before an upload in parts gets its first part."""
        self._to, self._options, self._pace, self._on_upload = to, options, pace, on_upload
        self._payer = s3.request_payer()
        self._client = s3.client()
        # A copy whose answer was lost may have been made, so a copy is never repeated without a look: not by boto3.
        self._once = s3.client(attempts=1)

    def copy(self, wanted: Wanted) -> Result:
        """Copy one object, and try again while the service is busy.

        Raise LocationError where the fault is not the object's: no such bucket, credentials that ended.
        """
        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
                time.sleep(pause * random.random())  # noqa: S311  # no secret
            with self._pace.slot():
                try:
                    result = self._try(wanted)
                except S3Failure as error:
                    settled = self._of_this_object(wanted, error)
                    if settled is not None:
                        return settled
                    why = error_code(error)
                    if why in _SLOW_DOWN:
                        self._pace.slow_down()
                else:
                    self._pace.went_well()
                    return result
        return Result(Outcome.FAILED, detail=f"{why} at each of {_ATTEMPTS} attempts")

    def _try(self, wanted: Wanted) -> Result:
        """Copy one object; raise what boto3 raises."""
        if not self._to.honours_conditions and (settled := self._ask_first(wanted)):
            return settled
        try:
            if wanted.size_bytes > self._options.parts_above_bytes:
                return self._in_parts(wanted)
            return self._whole(wanted)
        except ClientError as error:
            if error_code(error) not in NOT_THIS_ONE:
                raise
            return self._met(wanted) or Result(Outcome.CHANGED)

    def _ask_first(self, wanted: Wanted) -> Result | None:
        """Do by looking what the conditions of the request would do, for a service that may ignore them."""
        if met := self._met(wanted):
            return met
        there = head(self._client, Bucket=wanted.bucket, Key=wanted.key, **self._payer)
        if there is None:
            return Result(Outcome.VANISHED)
        return Result(Outcome.CHANGED) if there.etag != wanted.etag else None

    def _met(self, wanted: Wanted) -> Result | None:
        """Return what the destination's key holds already: a copy whose answer was lost, or somebody's object."""
        there = head(self._client, Bucket=self._to.bucket, Key=wanted.to_key, **self._payer)
        if there is None:
            return None
        if is_copy_of(self._to, there, wanted):
            return Result(Outcome.COPIED, there.etag, there.version_id, there.last_modified)
        return Result(Outcome.OCCUPIED, detail="another object came there meanwhile")

    def _whole(self, wanted: Wanted) -> Result:
        request: dict[str, Any] = {
            "Bucket": self._to.bucket,
            "Key": wanted.to_key,
            "CopySource": {"Bucket": wanted.bucket, "Key": wanted.key},
            "CopySourceIfMatch": f'"{wanted.etag}"',
            **self._new_object(self._look(wanted) if self._options.asks_source else None),
        }
        if not self._options.tags:
            request |= {"TaggingDirective": "REPLACE", "Tagging": ""}
        if self._to.honours_conditions:
            request["IfNoneMatch"] = "*"
        answer = self._once.copy_object(**request)
        made = answer["CopyObjectResult"]
        etag, version = made["ETag"].strip('"'), answer.get("VersionId")
        encrypted = "kms" in answer.get("ServerSideEncryption", "")
        if etag != wanted.etag and not encrypted and not self._to.honours_conditions and self._replaced(wanted):
            self._to.take_back(Found(wanted.to_key, etag, wanted.size_bytes, made["LastModified"], version))
            return Result(Outcome.CHANGED)
        return Result(Outcome.COPIED, etag, version, made["LastModified"])

    def _replaced(self, wanted: Wanted) -> bool:
        """Whether the source was replaced at the very moment of a copy without conditions."""
        there = head(self._client, Bucket=wanted.bucket, Key=wanted.key, **self._payer)
        return there is None or there.etag != wanted.etag

    def _in_parts(self, wanted: Wanted) -> Result:
        """Copy an object that is too large for one request."""
        source = self._look(wanted)
        new = PartsCopy(self._client, self._to, wanted, self._options, self._payer)
        new.make(source, self._new_object(source), self._on_upload)
        made = head(self._client, Bucket=self._to.bucket, Key=wanted.to_key, **self._payer)
        if made is None:
            return Result(Outcome.FAILED, detail="deleted by somebody as soon as it was there")
        return Result(Outcome.COPIED, made.etag, made.version_id, made.last_modified)

    def _look(self, wanted: Wanted) -> "HeadObjectOutputTypeDef":
        """Return what the source says of itself, if it still is the one that was judged."""
        request: dict[str, Any] = {"Bucket": wanted.bucket, "Key": wanted.key, **self._payer}
        return self._client.head_object(**request, IfMatch=f'"{wanted.etag}"')

    def _new_object(self, source: "HeadObjectOutputTypeDef | None") -> dict[str, Any]:
        """Return the parameters of a new object: storage class, encryption and who pays."""
        asked, of_source = self._options, dict(source or {})
        wished: dict[str, Any] = {
            "StorageClass": asked.storage_class,
            "ServerSideEncryption": asked.encryption,
            "SSEKMSKeyId": asked.kms_key_id,
        }
        if asked.storage_class == KEEP:
            wished["StorageClass"] = of_source.get("StorageClass")  # S3 says nothing where it is STANDARD
        if asked.encryption == KEEP:
            for name in ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"):
                wished[name] = of_source.get(name)
        return {**{name: value for name, value in wished.items() if value is not None}, **self._payer}

    def _of_this_object(self, wanted: Wanted, error: Exception) -> Result | None:
        """Return the outcome that an error means for one object, None where to try again; raise what ends the job."""
        code = error_code(error)
        if code in GONE:
            return Result(Outcome.VANISHED)
        if code in FORBIDDEN:
            return Result(Outcome.FORBIDDEN, detail=said(error))
        if code in NOT_THIS_ONE:
            return Result(Outcome.CHANGED)
        if code in _OF_THIS_OBJECT:
            return Result(Outcome.FAILED, detail=_OF_THIS_OBJECT[code] or said(error))
        if code in _TRY_AGAIN or isinstance(error, (Unreachable, *BodyBrokeOff)):
            return None
        raise refused("copy", wanted.uri, error) from error


TOLERANCE_S = 3
"""Between two clocks of a service, and between a time and its whole seconds."""
LONGEST_SPAN_S = 3600
"""A copy whose answer was lost is looked for within an hour of the note that it would be made."""


def is_copy_of(to: Bucket, there: Found, wanted: Wanted) -> bool:
    """Whether what lies at a key is the copy that was wanted there, since `wanted.since`, by etag or by its bytes."""
    age_s = (there.last_modified - wanted.since).total_seconds()
    if there.size_bytes != wanted.size_bytes or not -TOLERANCE_S <= age_s <= LONGEST_SPAN_S:
        return False
    if there.etag == wanted.etag:
        return True
    # The etag of an upload in parts, or of one that KMS encrypts, is no hash of the content.
    return wanted.sha256 is not None and to.sha256(there) == wanted.sha256
