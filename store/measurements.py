"""What detectors saw: one row for each image, question and run that looked, also where looking failed.

    measurements/<detector_id>/detector.json     identity, written once
                               <part>.parquet    MEASURED, never rewritten

Which images are done is decided per object and question, as in `store/ledger.py`: by the rows that stand in parts.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa

from store.detector import Detector
from store.layout import EncoderStore
from store.parts import parquet_bytes, read_part
from store.records import Outcome
from store.schema import MEASUREMENTS

MEASURED: Final = "measured"
"""The status of a row whose confidence counts; the other one is `failed`."""


@dataclass(frozen=True)
class Box:
    """Where something was seen: corners relative to the upright image's width and height, 0 to 1."""

    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float  # 0 to 1

    @classmethod
    def of(cls, corners: Iterable[float], confidence: float) -> "Box":
        """Return the box of x0, y0, x1 and y1, cut off at the image's edges."""
        x0, y0, x1, y1 = (min(max(float(corner), 0.0), 1.0) for corner in corners)
        return cls(x0, y0, x1, y1, float(confidence))


@dataclass(frozen=True)
class Sighting:
    """The answer to one question about one image."""

    confidence: float  # the highest, 0 to 1; 0 where nothing was found
    boxes: tuple[Box, ...] = ()  # most confident first; may be none where the detector gives none


@dataclass(frozen=True)
class Measurement:
    """One row. `seen` is there exactly where nothing failed."""

    image_id: uuid.UUID
    label: str
    model: str  # as the detector names itself in this answer
    measured_at: datetime
    seen: Sighting | None
    failure: Outcome | None = None


def folder_of(detector: Detector) -> str:
    """Return where this detector's answers lie in an encoder's part of a store."""
    return f"measurements/{detector.detector_id}"


def write_measurements(
    store: EncoderStore, detector: Detector, name: str, run_id: str, rows: Sequence[Measurement]
) -> None:
    """Write one part, and the detector's record before the first one."""
    folder = folder_of(detector)
    store.location.create(f"{folder}/detector.json", detector.to_json())
    store.location.write(f"{folder}/{name}.parquet", parquet_bytes(_table(rows, detector, run_id)))


def looked_at(
    store: EncoderStore, detector: Detector, labels: Sequence[str], *, failed_too: bool = True
) -> set[uuid.UUID]:
    """Return the images that hold an answer of this detector to every one of these questions.

    With `failed_too`, a failure is an answer as well.
    """
    answered: dict[str, set[uuid.UUID]] = {label: set() for label in labels}
    for name in store.parts(folder_of(detector)):
        table = read_part(store.location, name, ["image_id", "label", "status"])
        for image_id, label, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if label in answered and (failed_too or status == MEASURED):
                answered[label].add(image_id)
    return set.intersection(*answered.values())


def _table(rows: Sequence[Measurement], detector: Detector, run_id: str) -> pa.Table:
    seen = [row.seen for row in rows]
    failures = [row.failure for row in rows]
    columns = [
        [row.image_id.bytes for row in rows],
        [run_id] * len(rows),
        [detector.detector_id] * len(rows),
        [row.model for row in rows],
        [row.label for row in rows],
        [[vars(box) for box in one.boxes] if one else [] for one in seen],
        [one.confidence if one else None for one in seen],
        [failure.status if failure else MEASURED for failure in failures],
        [failure.error_code if failure else None for failure in failures],
        [failure.error_detail if failure else None for failure in failures],
        [row.measured_at for row in rows],
    ]
    arrays = [pa.array(values, f.type) for values, f in zip(columns, MEASUREMENTS, strict=True)]
    return pa.table(arrays, schema=MEASUREMENTS)
