"""Amazon Rekognition: two questions about one image, as plain records; credentials from boto3's standard chain alone.

DetectLabels: https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectLabels.html
DetectFaces:  https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectFaces.html
Limits:       https://docs.aws.amazon.com/rekognition/latest/dg/limits.html
"""

from collections.abc import Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from store.errors import LocationError
from store.measurements import Box, Sighting
from store.records import ErrorCode, Outcome, failed
from store.s3.bucket import head
from store.s3.errors import error_code, refused
from store.s3.options import S3Options

MAX_BYTES: Final = 5_242_880
"""So much may be sent with a request."""
MAX_STORED_BYTES: Final = 15_000_000
"""So large may an object be that Rekognition reads from S3 by itself."""
MIN_SIDE_PX: Final = 80
MAX_SIDE_PX: Final = 10_000
FORMATS: Final = ("JPEG", "PNG")

PERSON, FACE, FACE_OCCLUDED, SUNGLASSES = "person", "face", "face_occluded", "sunglasses"
CALLS: Final[Mapping[str, tuple[str, ...]]] = {
    "DetectLabels": (PERSON,),
    "DetectFaces": (FACE, FACE_OCCLUDED, SUNGLASSES),
}
"""What one call answers, all of it at one price."""

Answers = dict[str, Sighting]
"""By question."""

_OF_THIS_IMAGE: Final = {
    "InvalidImageFormatException": ErrorCode.UNSUPPORTED,
    "ImageTooLargeException": ErrorCode.TOO_LARGE,
    "InvalidParameterException": ErrorCode.UNSUPPORTED,
    "InvalidS3ObjectException": ErrorCode.READ_FAILED,
}
_ADVICE: Final = {
    "AccessDeniedException": "Allow rekognition:{call} for these credentials in the user's or the role's policy.",
    "UnrecognizedClientException": "The service does not know this access key: check AWS_ACCESS_KEY_ID.",
    "InvalidSignatureException": "The secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY.",
    "ExpiredTokenException": "Renew the credentials (for example `aws sso login`), then run the same command again.",
    "ThrottlingException": "Ask for fewer at a time, or for a higher quota; the same command goes on from here.",
    "ProvisionedThroughputExceededException": (
        "Ask AWS for a higher quota, or wait; the same command goes on from here."
    ),
}


class ImageRefused(Exception):
    """Rekognition takes this one image for none that it can read; `outcome` says why."""

    def __init__(self, outcome: Outcome, *, unreadable_on_s3: bool = False) -> None:
        """Keep the outcome, and whether sending the bytes may still help."""
        super().__init__(outcome.error_detail)
        self.outcome, self.unreadable_on_s3 = outcome, unreadable_on_s3


class Rekognition:
    """A client for many threads."""

    def __init__(self, s3: S3Options, endpoint_url: str | None = None, region: str | None = None) -> None:
        """Prepare the client; nothing is asked yet. `endpoint_url` and `region` are Rekognition's own.

        Raise LocationError where neither the words nor the environment name a region.
        """
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 8},
            max_pool_connections=16,
            connect_timeout=10,
            read_timeout=60,
        )
        try:
            self._client: Any = boto3.client(
                "rekognition", endpoint_url=endpoint_url, region_name=region or s3.region, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise LocationError(
                f"Cannot set up Rekognition: {error}", do="Check --rekognition-region and the AWS profile."
            ) from error
        self._s3, self._objects = s3, s3.client()
        self._near: dict[str, bool] = {}
        self._lock = Lock()

    @property
    def region(self) -> str:
        """Where the service answers."""
        return str(self._client.meta.region_name)

    def ask(self, call: str, image: Mapping[str, Any]) -> tuple[str, Answers]:
        """Return the model's name and the answers of one of CALLS; `image` is {"Bytes": …} or {"S3Object": …}.

        Raise ImageRefused where only this image is at fault, LocationError where the service or the permission is.
        """
        try:
            if call == "DetectLabels":
                return _labels(
                    self._client.detect_labels(
                        Image=image,
                        MinConfidence=0,
                        Settings={"GeneralLabels": {"LabelInclusionFilters": ["Person"]}},
                    )
                )
            return _faces(self._client.detect_faces(Image=image, Attributes=["DEFAULT", "FACE_OCCLUDED", "SUNGLASSES"]))
        except (BotoCoreError, ClientError) as error:
            code = error_code(error)
            if code in _OF_THIS_IMAGE:
                outcome = failed(_OF_THIS_IMAGE[code], f"Rekognition answered {code}: {_said(error)}")
                raise ImageRefused(outcome, unreadable_on_s3=code == "InvalidS3ObjectException") from error
            raise _refused(call, error) from error

    def reads_from(self, bucket: str) -> bool:
        """Whether Rekognition can be told to read this bucket by itself: it must be of the same service and region."""
        with self._lock:
            if bucket not in self._near:
                self._near[bucket] = self._is_near(bucket)
            return self._near[bucket]

    def holds(self, bucket: str, key: str, etag: str) -> bool:
        """Whether the key still holds this very object."""
        try:
            there = head(self._objects, Bucket=bucket, Key=key, **self._s3.request_payer())
        except (BotoCoreError, ClientError) as error:
            raise refused("read", f"s3://{bucket}/{key}", error) from error
        return there is not None and there.etag == etag

    def _is_near(self, bucket: str) -> bool:
        if _is_aws(self._objects.meta.endpoint_url) != _is_aws(self._client.meta.endpoint_url):
            return False
        try:
            return self._objects.head_bucket(Bucket=bucket).get("BucketRegion") == self.region
        except ClientError as error:  # S3 names the region also where it denies
            headers = error.response["ResponseMetadata"]["HTTPHeaders"]
            return headers.get("x-amz-bucket-region") == self.region
        except BotoCoreError:  # reading the image will tell
            return False


def _labels(answer: Mapping[str, Any]) -> tuple[str, Answers]:
    """Read DetectLabels: a person may be named without a box, in a crowd for example, and counts as found too."""
    found = [label for label in answer["Labels"] if label["Name"] == "Person"]
    boxes = [_box(one["BoundingBox"], one["Confidence"]) for label in found for one in label.get("Instances", [])]
    named = max((label["Confidence"] / 100 for label in found), default=0.0)
    model = f"DetectLabels {answer.get('LabelModelVersion', 'of an unnamed version')}"
    return model, {PERSON: _sighting(boxes, at_least=named)}


def _faces(answer: Mapping[str, Any]) -> tuple[str, Answers]:
    """Read DetectFaces. A face that is said not to be covered is no find of a covered one, however sure that is."""
    faces = answer["FaceDetails"]
    attributes = {FACE_OCCLUDED: "FaceOccluded", SUNGLASSES: "Sunglasses"}
    answers = {FACE: _sighting([_box(face["BoundingBox"], face["Confidence"]) for face in faces])}
    for question, name in attributes.items():
        having = [face for face in faces if face.get(name, {}).get("Value")]
        answers[question] = _sighting([_box(face["BoundingBox"], face[name]["Confidence"]) for face in having])
    return "DetectFaces", answers


def _sighting(boxes: list[Box], at_least: float = 0.0) -> Sighting:
    ranked = sorted(boxes, key=lambda box: -box.confidence)
    return Sighting(max(at_least, ranked[0].confidence if ranked else 0.0), tuple(ranked))


def _box(box: Mapping[str, float], percent: float) -> Box:
    """Return a box within the image; the service lets one of what is cut off at the edge reach beyond it."""
    left, top = box["Left"], box["Top"]
    return Box.of((left, top, left + box["Width"], top + box["Height"]), percent / 100)


def _is_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def _said(error: Exception) -> str:
    return error.response.get("Error", {}).get("Message", "") if isinstance(error, ClientError) else str(error)


def _refused(call: str, error: Exception) -> LocationError:
    if isinstance(error, NoCredentialsError):
        return LocationError(
            f"Cannot ask Rekognition ({call}): no AWS credentials were found.",
            do="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose AWS_PROFILE, or give the machine a role.",
        )
    code, said = error_code(error), _said(error)
    return LocationError(
        f"Cannot ask Rekognition ({call}): {code}{f' ({said})' if said and said != code else ''}.",
        do=_ADVICE.get(code, "Check the network, the region and the service, then run the same command again.").format(
            call=call
        ),
    )
