"""One object copied in parts, because it is too large for one request: what CopyObject keeps is carried over by hand.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/CopyingObjectsMPUapi.html
Limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from store.s3.bucket import Bucket
from store.s3.copying.records import CopyOptions, Wanted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, HeadObjectOutputTypeDef

_MOST_PARTS = 10_000
_KEPT_HEADERS = (
    *("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType"),
    *("Metadata", "WebsiteRedirectLocation"),
)


@dataclass(frozen=True)
class PartsCopy:
    """One such copy; its methods raise what boto3 raises."""

    client: "S3Client"
    to: Bucket
    wanted: Wanted
    options: CopyOptions
    payer: dict[str, Any]

    def make(
        self, source: "HeadObjectOutputTypeDef", new_object: dict[str, Any], on_upload: Callable[[Wanted, str], None]
    ) -> None:
        """Copy every part, if the source is the one that was judged; where that fails, leave nothing."""
        target: dict[str, Any] = {"Bucket": self.to.bucket, "Key": self.wanted.to_key}
        began = self.client.create_multipart_upload(**target, **self._kept(source), **new_object)
        upload = {**target, "UploadId": began["UploadId"], **self.payer}
        try:
            on_upload(self.wanted, began["UploadId"])
            parts = [self._part(upload, number, start) for number, start in enumerate(self._starts(), start=1)]
            condition: dict[str, Any] = {"IfNoneMatch": "*"} if self.to.honours_conditions else {}
            self.client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
        except BaseException:
            self.to.abort(self.wanted.to_key, began["UploadId"])
            raise

    def _part(self, upload: dict[str, Any], number: int, start: int) -> "CompletedPartTypeDef":
        end = min(start + self._part_bytes, self.wanted.size_bytes) - 1
        answer = self.client.upload_part_copy(
            **upload,
            PartNumber=number,
            CopySource={"Bucket": self.wanted.bucket, "Key": self.wanted.key},
            CopySourceIfMatch=f'"{self.wanted.etag}"',
            CopySourceRange=f"bytes={start}-{end}",
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    def _starts(self) -> range:
        return range(0, self.wanted.size_bytes, self._part_bytes)

    @property
    def _part_bytes(self) -> int:
        return max(self.options.part_bytes, -(-self.wanted.size_bytes // _MOST_PARTS))

    def _kept(self, source: "HeadObjectOutputTypeDef") -> dict[str, Any]:
        """Return headers, metadata and tags as the source has them."""
        kept: dict[str, Any] = {name: value for name, value in source.items() if name in _KEPT_HEADERS}
        if expires := source["ResponseMetadata"]["HTTPHeaders"].get("expires"):
            kept["Expires"] = expires
        if self.options.tags and source.get("TagCount"):
            request: dict[str, Any] = {"Bucket": self.wanted.bucket, "Key": self.wanted.key, **self.payer}
            tags = self.client.get_object_tagging(**request)["TagSet"]
            kept["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in tags})
        return kept
