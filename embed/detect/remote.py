"""Amazon Rekognition as a detector: what of an image is sent, in which form, and when its object is only named."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

from PIL import Image

from embed.decode import decode
from embed.detect.looking import Answer
from embed.detect.questions import REMOTE, Question
from embed.detect.reading import Reader, Wanted
from embed.sources import ReadFailed
from store.detector import Detector
from store.records import ErrorCode, ImageFacts
from store.rekognition import (
    CALLS,
    FORMATS,
    MAX_BYTES,
    MAX_SIDE_PX,
    MAX_STORED_BYTES,
    MIN_SIDE_PX,
    ImageRefused,
    Rekognition,
)

API: Final = "2016-06-27"
"""The version of the service's interface; the models behind it change, and each answer names its own."""

_SENT_SIDE_PX: Final = 4096
_QUALITIES: Final = (95, 85, 70, 50)
_UPRIGHT: Final = (None, 1)
_PLAIN: Final = ("1", "L", "LA", "P", "RGB", "RGBA")
"""What every decoder reads alike; CMYK and deep greyscale are sent as they were judged here."""


class Remote:
    """Asks the calls that answer the questions, each once for an image; every answer of a call is kept."""

    batch_size = 1
    readers = 8
    """Requests in flight: at 300 ms each about 27 images/s; the quota of most regions is 5 to 50."""

    def __init__(self, service: Rekognition, reader: Reader, asked: Sequence[Question]) -> None:
        """Nothing is asked yet."""
        self._service, self.reader = service, reader
        labels = {question.label for question in asked}
        self.calls = tuple(call for call, answers in CALLS.items() if labels & set(answers))
        self.labels = tuple(label for call in self.calls for label in CALLS[call])
        self.record = Detector(REMOTE, "Amazon Rekognition", {"api": API, "min_confidence": 0})

    @property
    def where(self) -> str:
        """The region."""
        return self._service.region

    def look(self, wanted: Wanted) -> list[Answer]:
        """Return each call's model and answers; raise ReadFailed or Refused where this image cannot be had or sent."""
        if self._may_name(wanted):
            try:
                return self._named(wanted)
            except ImageRefused as refused:
                if not refused.unreadable_on_s3:
                    raise
        return self._ask({"Bytes": self._bytes(wanted)})

    def answer(self, looked: Sequence[list[Answer]]) -> list[list[Answer]]:
        """Return what the service has answered already."""
        return list(looked)

    def _ask(self, image: dict[str, Any]) -> list[Answer]:
        return [self._service.ask(call, image) for call in self.calls]

    def _may_name(self, wanted: Wanted) -> bool:
        one, facts = wanted.source_object, wanted.facts
        return (
            one.bucket is not None
            and facts is not None
            and one.size_bytes <= MAX_STORED_BYTES
            and is_taken(facts)
            and self._service.reads_from(one.bucket)
        )

    def _named(self, wanted: Wanted) -> list[Answer]:
        """Let the service read the object by itself, and make sure afterwards that it was the one that was judged."""
        one = wanted.source_object
        answers = self._ask({"S3Object": {"Bucket": one.bucket, "Name": one.key}})
        if not self._service.holds(str(one.bucket), one.key, str(one.etag)):
            raise ReadFailed(ErrorCode.CHANGED, "replaced or deleted since it was listed")
        return answers

    def _bytes(self, wanted: Wanted) -> bytes:
        """Return the image's own bytes where the service takes them, else a JPEG of its pixels."""
        data = self.reader.read(wanted.source_object).data
        decoded = decode(data)
        if len(data) <= MAX_BYTES and is_taken(decoded.facts):
            return data
        return _jpeg(decoded.image)


def is_taken(facts: ImageFacts) -> bool:
    """Whether an image is of a format and size that the service takes, and will be turned upright as it is here.

    It turns a JPEG by its EXIF orientation, and nothing else.
    """
    if facts.format not in FORMATS or facts.mode not in _PLAIN:
        return False
    if facts.format != "JPEG" and facts.exif_orientation not in _UPRIGHT:
        return False
    return min(facts.width_px, facts.height_px) >= MIN_SIDE_PX and max(facts.width_px, facts.height_px) <= MAX_SIDE_PX


def _jpeg(image: Image.Image) -> bytes:
    """Return an RGB image as a JPEG that the service takes: boxes are relative, so its size does not matter to them."""
    sides = image.size
    scale = min(_SENT_SIDE_PX / max(sides), 1.0)
    small = image.resize([max(round(side * scale), MIN_SIDE_PX) for side in sides]) if _changes(sides, scale) else image
    for quality in _QUALITIES:
        file = BytesIO()
        small.save(file, "JPEG", quality=quality)
        if file.tell() <= MAX_BYTES:
            return file.getvalue()
    raise ReadFailed(ErrorCode.TOO_LARGE, f"over {MAX_BYTES:,} bytes as a JPEG of {small.width} x {small.height}")


def _changes(sides: tuple[int, int], scale: float) -> bool:
    return scale < 1.0 or min(sides) < MIN_SIDE_PX
