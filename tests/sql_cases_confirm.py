"""What the views and queries of a second look answer; see test_sql_queries.py."""

from typing import Any

from tests.sql_cases import Case, Row
from tests.stores import NOON


def looked(image_id: int, label: str, confidence: float | None, minute: int = 0, detector: str = "owlv2-a") -> Row:
    """A row of measurements; no confidence means that it failed."""
    failed: dict[str, Any] = {"status": "failed", "error_code": "not_found"}
    return {
        "image_id": image_id,
        "run_id": f"r{minute}",
        "detector": detector,
        "label": label,
        "boxes": [],
        "measured_at": NOON.replace(minute=minute),
        **({"confidence": confidence, "status": "measured"} if confidence is not None else failed),
    }


def boxed(**changed: float) -> Row:
    """A measurement with one box."""
    box = {"x0": 0.0, "y0": 0.25, "x1": 1.0, "y1": 0.5, "confidence": 0.5, **changed}
    return {**looked(1, "person", 0.5), "boxes": [box]}


WRONG = ({"x0": -0.5}, {"x1": 1.5}, {"y0": 0.75}, {"y1": 0.0}, {"confidence": 0.75}, {"confidence": -0.5})

CONFIRM = [
    Case(
        "views/measurements",
        "of one image, detector and label a success counts before a failure, then the newest; what is gone does not",
        {
            "measurement_rows": [
                looked(1, "person", 0.25, minute=1),
                looked(1, "person", None, minute=2),
                looked(2, "person", 0.5, minute=1),
                looked(2, "person", 0.75, minute=2),
                looked(2, "mask", 0.125, minute=1),
                looked(2, "person", 1.0, minute=3, detector="owlv2-b"),
                looked(9, "person", 1.0),
            ],
            "current_objects": [{"image_id": 1}, {"image_id": 2}],
        },
        [
            {"image_id": 1, "detector": "owlv2-a", "label": "person", "confidence": 0.25},
            {"image_id": 2, "detector": "owlv2-a", "label": "mask", "confidence": 0.125},
            {"image_id": 2, "detector": "owlv2-a", "label": "person", "confidence": 0.75},
            {"image_id": 2, "detector": "owlv2-b", "label": "person", "confidence": 1.0},
        ],
    ),
    Case(
        "views/measured",
        "each kind and label is a column, null where it has not looked or failed, 0 where it found nothing",
        {
            "measurements": [
                looked(1, "person", 0.0),
                looked(1, "mask", None),
                looked(2, "mask", 0.5),
                looked(2, "person", 0.75, detector="rekognition-c"),
            ]
        },
        [
            {"image_id": 1, "owlv2_mask": None, "owlv2_person": 0.0, "rekognition_person": None},
            {"image_id": 2, "owlv2_mask": 0.5, "owlv2_person": None, "rekognition_person": 0.75},
        ],
    ),
    Case(
        "views/measured",
        "a column holds the answers of one detector, the one of its kind that looked last for this label",
        {
            "measurements": [
                looked(1, "person", 0.25, minute=1),
                looked(2, "person", 0.5, minute=2, detector="owlv2-b"),
                looked(1, "mask", 0.125, minute=1),
            ]
        },
        [
            {"image_id": 1, "owlv2_person": None, "owlv2_mask": 0.125},
            {"image_id": 2, "owlv2_person": 0.5, "owlv2_mask": None},
        ],
    ),
    Case("views/no_measured", "where nobody has looked there are no rows", {"measurement_rows": []}, []),
    Case(
        "rules/band",
        "both ends belong to the band, as FLOAT compares; what is nearest to its middle comes first, then by URI",
        {
            "one_score": [
                {"image_id": k, "score": score} for k, score in enumerate((0.34, 0.35, 0.65, 0.66, 0.5, 0.4375, 0.5625))
            ],
            "current_images": [{"image_id": k, "uri": f"u{9 - k}"} for k in range(7)],
        },
        [
            {"image_id": 4, "uri": "u5"},
            {"image_id": 6, "uri": "u3"},
            {"image_id": 5, "uri": "u4"},
            {"image_id": 2, "uri": "u7"},
            {"image_id": 1, "uri": "u8"},
        ],
        {"low": 0.35, "high": 0.65},
    ),
    Case(
        "status/measurements",
        "each detector and label with what it has seen, failed to see, and when it looked last",
        {
            "measurements": [
                looked(1, "person", 0.5, minute=1),
                looked(2, "person", None, minute=2),
                looked(1, "mask", 0.0, minute=1),
                looked(1, "person", 0.5, minute=3, detector="rekognition-c"),
            ]
        },
        [
            {"detector": "owlv2-a", "label": "mask", "images": 1, "failed": 0, "last_at": NOON.replace(minute=1)},
            {"detector": "owlv2-a", "label": "person", "images": 1, "failed": 1, "last_at": NOON.replace(minute=2)},
            {
                "detector": "rekognition-c",
                "label": "person",
                "images": 1,
                "failed": 0,
                "last_at": NOON.replace(minute=3),
            },
        ],
    ),
    Case(
        "checks/measurements_are_possible",
        "an answer with and without boxes, and a failure with its reason, are sound",
        {"measurements": [looked(1, "person", 0.0), looked(2, "person", 1.0), looked(3, "person", None), boxed()]},
        [],
    ),
    Case(
        "checks/measurements_are_possible",
        "an answer without a confidence, a failure without a reason, and an impossible box are found",
        {
            "measurements": [
                {**looked(1, "person", 0.5), "confidence": None},
                {**looked(2, "person", None), "error_code": None},
                {**looked(3, "person", 0.5), "error_code": "empty"},
                {**looked(4, "person", 0.5), "status": "seen"},
                looked(5, "person", 1.5),
                *({**boxed(**wrong), "image_id": k} for k, wrong in enumerate(WRONG, 6)),
            ]
        },
        sorted(({"image_id": k} for k in range(1, 12)), key=repr),
    ),
]
