"""What ListObjectsV2 lists, read for a quarter of what botocore takes: a bucket has more objects than requests.

botocore compares each element of an answer with its model of S3. Here the objects are taken out of an answer before it
does, and it reads the rest.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from store.s3.times import time_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_VALUES: dict[str, Callable[[str], object]] = {
    "Key": str,
    "ETag": str,
    "StorageClass": str,
    "Size": int,
    "LastModified": time_of,
}


def read_quickly(client: "S3Client") -> None:
    """Let a client's listings name of each object what `_VALUES` does, and nothing else."""
    client.meta.events.register_first("before-parse.s3.ListObjectsV2", _take_objects)  # botocore looks for errors there


def _take_objects(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    try:
        root = ET.fromstring(response_dict["body"])  # noqa: S314  # as botocore does, which is asked next
    except ET.ParseError:
        return  # botocore says so
    found = [child for child in root if _name(child) == "Contents"]
    if found:
        for each in found:
            root.remove(each)
        customized_response_dict["Contents"] = [_object(each) for each in found]
        response_dict["body"] = ET.tostring(root)


def _object(listed: ET.Element) -> dict[str, Any]:
    return {name: _VALUES[name](child.text or "") for child in listed if (name := _name(child)) in _VALUES}


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]  # without its namespace
