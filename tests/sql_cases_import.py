"""What the check of imported facts answers; see test_sql_queries.py."""

from tests.sql_cases import Case

IMPORTS = [
    Case(
        "checks/facts_are_possible",
        "what is unknown is sound, and so is what an S3 URI and another one have",
        {
            "images": [
                {"image_id": 1, "uri": "s3://b/k", "bucket": "b", "size_bytes": 0, "width_px": 1, "height_px": 1},
                {"image_id": 2, "uri": "https://example.org/a.jpg"},
            ]
        },
        [],
    ),
    Case(
        "checks/facts_are_possible",
        "a negative size, a side of zero, and a bucket without its URI, or the other way round, are found",
        {
            "images": [
                {"image_id": 1, "uri": "a", "size_bytes": -1},
                {"image_id": 2, "uri": "b", "width_px": 0, "height_px": 1},
                {"image_id": 3, "uri": "c", "width_px": 1, "height_px": 0},
                {"image_id": 4, "uri": "s3://b/k"},
                {"image_id": 5, "uri": "file:///k", "bucket": "b"},
            ]
        },
        [{"image_id": k} for k in range(1, 6)],
    ),
]
