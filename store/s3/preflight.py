"""Which permissions does a job lack? Asked with requests that read a byte and leave nothing behind.

A PUT with a condition that cannot hold is refused for the lack of a permission first, and for the condition else:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from store.errors import LocationError
from store.layout import store_record
from store.s3.errors import S3Failure, error_code, refused
from store.s3.options import S3Options, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DENIED = {"AccessDenied", "403"}
_NOTHING_THERE = {"NoSuchKey", "404", "416", "InvalidRange"}
_CONDITION = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_ASKED = 3
"""Objects of the source that are tried; one that alone is forbidden is no missing permission."""


@dataclass(frozen=True)
class Lack:
    """A permission that is missing, and the statement of a policy that gives it."""

    what: str
    action: str
    bucket: str
    prefix: str

    def statement(self) -> str:
        """Return one statement as `deploy/iam/embed.json` has them, in one line."""
        on_bucket = self.action == "s3:ListBucket"
        below = f"{self.prefix}*"
        said: dict[str, Any] = {
            "Effect": "Allow",
            "Action": self.action,
            "Resource": f"arn:aws:s3:::{self.bucket}" + ("" if on_bucket else f"/{below}"),
        }
        if on_bucket and self.prefix:
            said["Condition"] = {"StringLike": {"s3:prefix": below}}
        return json.dumps(said)


def require(lacks: Sequence[Lack]) -> None:
    """Raise LocationError that names everything that is missing."""
    if lacks:
        lines = "\n".join(f"  {lack.what} ({lack.action}): {lack.statement()}" for lack in lacks)
        raise LocationError(
            f"{'A permission is' if len(lacks) == 1 else f'{len(lacks)} permissions are'} missing. Nothing was read or "
            f"written.\n{lines}\n"
            f"Add {'this' if len(lacks) == 1 else 'these'} to the policy of these credentials, or of the bucket.",
        )


def lacks_at_source(uri: str, options: S3Options) -> list[Lack]:
    """Return what a job lacks to list and read a prefix of S3; raise LocationError for another fault."""
    bucket, prefix = split_uri(uri)
    client, payer = options.client(), options.request_payer()
    try:
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_ASKED, **payer).get("Contents", [])
    except S3Failure as error:
        if error_code(error) not in _DENIED:
            raise refused("list", uri, error) from error
        return [Lack(f"list {uri}", "s3:ListBucket", bucket, prefix)]
    if len(found) < _ASKED:
        return []
    answers = (_answer(client.get_object, Bucket=bucket, Key=one["Key"], Range="bytes=0-0", **payer) for one in found)
    if all(answer in _DENIED for answer in answers):
        return [Lack(f"read the objects of {uri}", "s3:GetObject", bucket, prefix)]
    return []


def lacks_at_store(uri: str, options: S3Options, *, dry: bool = False) -> list[Lack]:
    """Return what a job lacks to list, read and write a store on S3.

    With `dry`, writing is not tried where a service might take no notice of the condition and really write.
    """
    bucket, prefix = split_uri(f"{uri}/")
    client, payer = options.client(), options.request_payer()
    place = {"Bucket": bucket, **payer}
    lacks = []
    listed = _answer(client.list_objects_v2, **place, Prefix=prefix, MaxKeys=1)
    if listed in _DENIED:
        lacks.append(Lack(f"list the store {uri}", "s3:ListBucket", bucket, prefix))
    key = f"{prefix}store.json"
    read = _answer(client.get_object, **place, Key=key)
    if read in _DENIED and listed not in _DENIED:  # else S3 denies what does not exist
        lacks.append(Lack(f"read the store {uri}", "s3:GetObject", bucket, prefix))
    if read == "" or not dry or _is_aws(client):
        condition = {"IfNoneMatch": "*"} if read == "" else {"IfMatch": '"0"'}
        if _answer(client.put_object, **place, Key=key, Body=store_record(), **condition) in _DENIED:
            lacks.append(Lack(f"write the store {uri}", "s3:PutObject", bucket, prefix))
    return lacks


def refuse_unwritable(folder: Path) -> None:
    """Raise LocationError where a store could not be made in a folder, or written to."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise LocationError(
            f"Cannot write to {folder}: {there} {'is no folder' if not there.is_dir() else 'may not be written to'}.",
            "What the job computes would have no place.",
            "Mend the permissions, or put the store somewhere else.",
        )


def _answer(ask: Callable[..., Any], **request: Any) -> str:
    """Return S3's error code, or nothing where it did what was asked; raise LocationError for what is no answer."""
    try:
        answer = ask(**request)
    except S3Failure as error:
        code = error_code(error)
        if code in _DENIED | _NOTHING_THERE | _CONDITION | {"InvalidObjectState"}:
            return code
        raise refused(
            "reach", f"s3://{request['Bucket']}/{request.get('Key', request.get('Prefix', ''))}", error
        ) from error
    if "Body" in answer:
        answer["Body"].close()
    return ""


def _is_aws(client: "S3Client") -> bool:
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
