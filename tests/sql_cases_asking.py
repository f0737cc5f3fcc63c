"""What the queries of a search, the macros and the cookbook answer; see test_sql_queries.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from store.schema import images_schema, prompts_schema
from tests.sql_cases import Case, Row, outcomes
from tests.stores import NOON

ASKING_SCHEMAS = {
    "current_images": images_schema(2).append(pa.field("folder", pa.string())),
    "score_values": pa.schema(
        {"image_id": pa.uuid(), "uri": pa.string(), "concept": pa.string(), "score": pa.float32()}
    ),
    "scores": pa.schema({"image_id": pa.uuid(), "uri": pa.string(), "people": pa.float32()}),
    "prompts": prompts_schema(2),
    "nearest": pa.schema({"image_id": pa.uuid(), "run_id": pa.string(), "cosine": pa.float32()}),
    "asked": pa.schema({"image_id": pa.uuid()}),
}


def vectors(*rows: tuple[int, str, list[float] | None]) -> list[Row]:
    """Image rows of (image_id, run_id, embedding); without an embedding the image failed."""
    return [
        {"image_id": i, "run_id": run, "status": "embedded" if vector else "failed", "embedding": vector or [None]}
        for i, run, vector in rows
    ]


def scored(*rows: tuple[int, str, float], **more: Mapping[int, Mapping[str, Any]]) -> dict[str, Sequence[Row]]:
    """Score values of (image_id, concept, score), and the images that they are of, where `images` says more of them."""
    values = [{"image_id": i, "uri": f"u{i}", "concept": concept, "score": score} for i, concept, score in rows]
    given: dict[str, Sequence[Row]] = {"score_values": values}
    if "images" in more:
        images = more["images"].items()
        given["current_images"] = [{"image_id": i, "uri": f"u{i}", "status": "embedded", **row} for i, row in images]
    return given


PEOPLE = {"concept": "people"}
AT_HALF = {**PEOPLE, "threshold": 0.5}
FIVE = scored((1, "people", 0.125), (2, "people", 0.375), (3, "people", 0.5), (4, "people", 0.75), (5, "people", 1.0))
FOLDERS = scored(
    *((1, "people", 0.75), (2, "people", 0.25), (3, "people", 0.5), (4, "people", 0.75), (4, "mask", 1.0)),
    images={
        1: {"folder": "a/x", "size_bytes": 10, "width_px": 6, "height_px": 4},
        2: {"folder": "a/x", "size_bytes": 20},
        3: {"folder": "a/y", "size_bytes": 40, "width_px": 3, "height_px": 3},
        4: {"folder": "b", "size_bytes": 30},
    },
)
TWO_PROMPTS: list[Row] = [{"text": "a dog", "vector": [1.0, 0.0]}, {"text": "a cat", "vector": [0.0, 1.0]}]

SEARCH = [
    Case(
        "asking/nearest",
        "the nearest rows come first, equal ones by id, whether they count or not",
        {
            "image_rows": vectors(
                (4, "r1", [0.0, 1.0]), (3, "r1", [1.0, 0.0]), (2, "r1", [1.0, 0.0]), (5, "r2", [0.5, 0.5])
            )
        },
        [{"image_id": 2, "cosine": 1.0}, {"image_id": 3, "cosine": 1.0}, {"image_id": 5, "cosine": 0.5}],
        {"vector": [1.0, 0.0], "rows": 3},
    ),
    Case(
        "asking/nearest_asked",
        "of the images that are asked for the nearest come first, each by the row that counts",
        {
            "image_rows": vectors(
                (1, "r1", [1.0, 0.0]), (2, "r1", [1.0, 0.0]), (2, "r2", [0.5, 0.5]), (3, "r1", [0.75, 0.0])
            ),
            "asked": [{"image_id": 2}, {"image_id": 3}],
            "superseded": [{"image_id": 2, "run_id": "r1"}],
        },
        [{"image_id": 3, "cosine": 0.75}, {"image_id": 2, "cosine": 0.5}],
        {"vector": [1.0, 0.0], "rows": 20},
    ),
    Case(
        "asking/found",
        "of the nearest rows those are found that are listed and not superseded, in order, up to the number wanted",
        {
            "nearest": [
                {"image_id": 1, "run_id": "r1", "cosine": 1.0005},
                {"image_id": 2, "run_id": "r1", "cosine": 1.0},
                {"image_id": 3, "run_id": "r1", "cosine": 0.75},
                {"image_id": 3, "run_id": "r2", "cosine": 0.25},
                {"image_id": 5, "run_id": "r1", "cosine": 0.5},
                {"image_id": 6, "run_id": "r1", "cosine": 0.125},
            ],
            "current_images": [{"image_id": i, "uri": f"u{i}", "width_px": 10 * i} for i in (1, 3, 4, 5, 6)],
            "superseded": [{"image_id": 3, "run_id": "r1"}],
        },
        [
            {"rank": 1, "cosine": 1.0, "uri": "u1", "width_px": 10, "image_id": 1},
            {"rank": 2, "cosine": 0.5, "uri": "u5", "width_px": 50, "image_id": 5},
            {"rank": 3, "cosine": 0.25, "uri": "u3", "width_px": 30, "image_id": 3},
        ],
        {"top": 3},
    ),
    *(
        Case(
            "asking/named",
            f"an object is named by {what}",
            {
                "current_objects": [
                    {"image_id": 1, "uri": "s3://b/k", "key": "k"},
                    {"image_id": 2, "uri": "s3://c/k", "key": "k"},
                    {"image_id": 3, "uri": "s3://b/l", "key": "l"},
                ]
            },
            [{"image_id": i} for i in found],
            {"word": word},
        )
        for what, word, found in (
            ("its URI", "s3://b/k", [1]),
            ("its key, which several may have", "k", [1, 2]),
            ("its id", "00000000-0000-0000-0000-000000000003", [3]),
            ("nothing else", "K", []),
        )
    ),
    Case(
        "asking/nearest_name",
        "a key that is spelled almost so is found",
        {
            "current_objects": [
                {"uri": "s3://b/in/12.jpg", "key": "in/12.jpg"},
                {"uri": "s3://b/in/9.png", "key": "in/9.png"},
            ]
        },
        [{"uri": "s3://b/in/12.jpg"}],
        {"word": "in/12.jpeg"},
    ),
    Case("asking/nearest_name", "where nothing is listed there is none", {"current_objects": []}, [], {"word": "k"}),
    Case(
        "asking/embedding",
        "an image's embedding is that of the row that counts",
        {
            "image_rows": vectors((1, "r1", None), (1, "r2", [0.5, 0.5]), (2, "r1", [1.0, 0.0])),
            "superseded": [{"image_id": 1, "run_id": "r1"}],
        },
        [{"status": "embedded", "error_code": None, "embedding": [0.5, 0.5]}],
        {"image_id": "00000000-0000-0000-0000-000000000001"},
    ),
    Case(
        "asking/thumbnails",
        "each image's picture is that of the row that counts; who has none is left out",
        {
            "thumbnail_rows": [
                {"image_id": 1, "run_id": "r1", "webp": b"old"},
                {"image_id": 1, "run_id": "r2", "webp": b"new"},
                {"image_id": 2, "run_id": "r1", "webp": b"other"},
            ],
            "superseded": [{"image_id": 1, "run_id": "r1"}],
        },
        [{"image_id": 1, "webp": b"new"}],
        {"image_ids": [f"00000000-0000-0000-0000-00000000000{k}" for k in (1, 3)]},
    ),
    Case(
        "asking/words",
        "columns are words, each once",
        {"superseded": [], "nearest": []},
        [{"word": "cosine"}, {"word": "image_id"}, {"word": "run_id"}],
    ),
]

LIST_ROWS = [
    {"image_id": 1, "source": "a.csv", "run_id": "r1", "caption": "old", "stars": 3},
    {"image_id": 1, "source": "a.csv", "run_id": "r2", "caption": "new"},
    {"image_id": 2, "source": "b.csv", "run_id": "r1", "stars": 5},
]

VIEWS_AND_MACROS = [
    Case(
        "views/metadata",
        "of an image that several runs or lists name, the row of the newest run counts as a whole",
        {"metadata_rows": LIST_ROWS},
        [{**LIST_ROWS[1], "stars": None}, {**LIST_ROWS[2], "caption": None}],
    ),
    Case("views/one_metadata", "one file is taken as it is", {"metadata_rows": LIST_ROWS[1:2]}, [LIST_ROWS[1]]),
    Case("views/no_metadata", "where no source was a list there are no rows", {"metadata_rows": LIST_ROWS}, []),
    Case(
        "views/score_values",
        "every score is a row with its concept",
        {"scores": [{"image_id": 1, "uri": "u1", "people": 0.5}, {"image_id": 2, "uri": "u2", "people": 0.25}]},
        [
            {"image_id": 1, "uri": "u1", "concept": "people", "score": 0.5},
            {"image_id": 2, "uri": "u2", "concept": "people", "score": 0.25},
        ],
    ),
    Case("views/score_values", "where nothing is scored there is no row", {"scores": []}, []),
    Case(
        "views/groups",
        "each folder has its objects by outcome, their bytes, and of what is known the middle size",
        {
            "current_images": [
                {
                    "folder": "a",
                    "source": "s1",
                    "status": "embedded",
                    "size_bytes": 2**62,
                    "width_px": 10,
                    "height_px": 4,
                },
                {"folder": "a", "source": "s1", "status": "embedded", "size_bytes": 1, "width_px": 20, "height_px": 8},
                {"folder": "a", "source": "s2", "status": "failed", "size_bytes": 2},
                {"folder": "a", "source": "s2", "status": "not_an_image", "size_bytes": 3},
                {"folder": "", "source": "s1", "status": "pending", "size_bytes": None, "last_modified": NOON},
            ]
        },
        [
            {
                "folder": "",
                "sources": 1,
                "objects": 1,
                "embedded": 0,
                "failed": 0,
                "not_an_image": 0,
                "pending": 1,
                "size_bytes": None,
                "median_width_px": None,
                "median_height_px": None,
                "newest_at": NOON,
            },
            {
                "folder": "a",
                "sources": 2,
                "objects": 4,
                "embedded": 2,
                "failed": 1,
                "not_an_image": 1,
                "pending": 0,
                "size_bytes": 2**62 + 6,
                "median_width_px": 15.0,
                "median_height_px": 6.0,
                "newest_at": None,
            },
        ],
    ),
    Case(
        "macros/similarity",
        "the cosine to a cached text; null without an embedding, also where such an image is among the others",
        {"prompts": TWO_PROMPTS, "images": vectors((1, "r", [0.75, 0.5]), (2, "r", None), (3, "r", [0.0, 1.0]))},
        [{"cosine": 0.75}, {"cosine": None}, {"cosine": 0.0}],
        ask="select similarity(embedding, 'a dog') as cosine from images order by image_id",
    ),
    Case(
        "macros/similarity",
        "the text may stand in a column",
        {"prompts": TWO_PROMPTS, "images": vectors((1, "r", [0.75, 0.5]))},
        [{"text": "a cat", "cosine": 0.5}, {"text": "a dog", "cosine": 0.75}],
        ask="select text, similarity(embedding, prompts.text) as cosine from images, prompts order by text",
    ),
    Case(
        "macros/similarity_to_image",
        "the cosine to an image that the sources hold",
        {
            "images": vectors((1, "r", [0.75, 0.5]), (2, "r", None), (3, "r", [0.0, 1.0])),
            "current_objects": [{"image_id": 3, "uri": "u3"}, {"image_id": 1, "uri": "u1"}],
        },
        [{"cosine": 0.5}, {"cosine": None}, {"cosine": 1.0}],
        ask="select similarity_to_image(embedding, 'u3') as cosine from images order by image_id",
    ),
]

COOKBOOK = [
    Case(
        "cookbook/highest",
        "the highest scores of the concept, equal ones by URI",
        scored((1, "people", 0.5), (3, "people", 0.75), (2, "people", 0.75), (4, "mask", 1.0)),
        [{"score": 0.75, "uri": "u2"}, {"score": 0.75, "uri": "u3"}],
        {**PEOPLE, "rows": 2},
    ),
    Case(
        "cookbook/nearest_to_threshold",
        "so many on each side, with the highest first; equality is removed",
        FIVE,
        [
            {"score": 0.75, "removed": True, "uri": "u4"},
            {"score": 0.5, "removed": True, "uri": "u3"},
            {"score": 0.375, "removed": False, "uri": "u2"},
            {"score": 0.125, "removed": False, "uri": "u1"},
        ],
        {**AT_HALF, "rows": 2},
    ),
    Case(
        "cookbook/share_by_folder",
        "the folder that loses most comes first; one with too few images is left out",
        FOLDERS,
        [{"folder": "a/x", "embedded": 2, "removed": 1, "removed_share": 0.5}],
        {**AT_HALF, "min_images": 2, "rows": 20},
    ),
    Case(
        "cookbook/share_by_folder",
        "of folders with one share the larger comes first, then by name",
        FOLDERS,
        [
            {"folder": "a/y", "embedded": 1, "removed": 1, "removed_share": 1.0},
            {"folder": "b", "embedded": 1, "removed": 1, "removed_share": 1.0},
        ],
        {**AT_HALF, "min_images": 1, "rows": 2},
    ),
    Case(
        "cookbook/share_by_prefix",
        "folders with one beginning are taken together",
        FOLDERS,
        [
            {"key_prefix": "a", "embedded": 3, "removed": 2, "removed_share": 0.6667},
            {"key_prefix": "b", "embedded": 1, "removed": 1, "removed_share": 1.0},
        ],
        {**AT_HALF, "depth": 1},
    ),
    Case(
        "cookbook/disagreement",
        "what one concept claims and the other does not, each at its threshold, the widest first",
        scored(
            *((1, "people", 0.75), (1, "mask", 0.25), (2, "people", 0.0), (2, "mask", 1.0)),
            *((3, "people", 0.75), (3, "mask", 0.5), (4, "people", 0.25), (4, "mask", 0.125)),
        ),
        [{"score": 0.0, "other_score": 1.0, "uri": "u2"}, {"score": 0.75, "other_score": 0.25, "uri": "u1"}],
        {**AT_HALF, "other_concept": "mask", "other_threshold": 0.5, "rows": 20},
    ),
    Case(
        "cookbook/disagreement",
        "thresholds of different units may differ",
        scored((1, "people", 0.75), (1, "aesthetic", 6.0), (2, "people", 0.75), (2, "aesthetic", 5.0)),
        [{"score": 0.75, "other_score": 5.0, "uri": "u2"}],
        {**AT_HALF, "other_concept": "aesthetic", "other_threshold": 5.5, "rows": 20},
    ),
    Case(
        "cookbook/biggest_removed",
        "of what the threshold removes the biggest files come first",
        FOLDERS,
        [
            {"size_bytes": 40, "width_px": 3, "height_px": 3, "score": 0.5, "uri": "u3"},
            {"size_bytes": 30, "width_px": None, "height_px": None, "score": 0.75, "uri": "u4"},
        ],
        {**AT_HALF, "rows": 2},
    ),
    Case(
        "cookbook/bytes_saved",
        "images and bytes on both sides of the threshold",
        FOLDERS,
        [{"removed": 3, "kept": 1, "removed_bytes": 80, "kept_bytes": 20, "removed_bytes_share": 0.8}],
        AT_HALF,
    ),
    Case(
        "cookbook/bytes_saved",
        "where nothing is scored nothing is saved",
        scored(images={}),
        [{"removed": 0, "kept": 0, "removed_bytes": 0, "kept_bytes": 0, "removed_bytes_share": None}],
        AT_HALF,
    ),
    Case(
        "cookbook/percentiles",
        "each percentage has the score that so many of the images stay at or below",
        FIVE,
        [
            *({"at_percent": p, "score": 0.125} for p in (0, 1, 5, 10)),
            *({"at_percent": p, "score": s} for p, s in ((25, 0.375), (50, 0.5), (75, 0.75))),
            *({"at_percent": p, "score": 1.0} for p in (90, 95, 99, 100)),
        ],
        PEOPLE,
    ),
    Case(
        "cookbook/correlation",
        "two concepts that always say the contrary have -1; a pair is there once",
        scored(*((k, "mask", k / 4) for k in range(4)), *((k, "people", 1 - k / 4) for k in range(4))),
        [{"concept": "mask", "other_concept": "people", "images": 4, "pearson": -1.0}],
    ),
    Case(
        "cookbook/similar_to_text",
        "the images nearest to a cached text; what has no embedding is not there",
        {"prompts": TWO_PROMPTS, "current_images": vectors((1, "r", [0.5, 0.5]), (2, "r", None), (3, "r", [1.0, 0.0]))},
        [{"cosine": 1.0}, {"cosine": 0.5}],
        {"text": "a dog", "rows": 20},
    ),
    Case(
        "cookbook/similar_to_image",
        "the images nearest to one, itself left out",
        {
            "images": vectors((1, "r", [0.5, 0.5])),
            "current_objects": [{"image_id": 1, "uri": "u1"}],
            "current_images": [
                {"uri": "u1", "status": "embedded", "embedding": [0.5, 0.5]},
                {"uri": "u2", "status": "embedded", "embedding": [0.0, 0.5]},
                {"uri": "u3", "status": "embedded", "embedding": [1.0, 0.0]},
                {"uri": "u4", "status": "failed"},
            ],
        },
        [{"cosine": 0.5, "uri": "u3"}, {"cosine": 0.25, "uri": "u2"}],
        {"uri": "u1", "rows": 20},
    ),
    Case(
        "cookbook/same_bytes",
        "contents that several files have, the most wasteful first; unread files are no copies of each other",
        {
            "current_images": [
                *({"uri": uri, "sha256": "one", "size_bytes": 10} for uri in ("u3", "u1", "u2")),
                *({"uri": uri, "sha256": "two", "size_bytes": 50} for uri in ("u4", "u5")),
                {"uri": "u6", "sha256": "alone", "size_bytes": 90},
                *({"uri": uri, "size_bytes": 90} for uri in ("u7", "u8")),
            ]
        },
        [
            {"copies": 2, "size_bytes": 50, "wasted_bytes": 50, "uris": ["u4", "u5"], "sha256": "two"},
            {"copies": 3, "size_bytes": 10, "wasted_bytes": 20, "uris": ["u1", "u2", "u3"], "sha256": "one"},
        ],
        {"rows": 20},
    ),
    Case(
        "cookbook/formats",
        "each kind of file with its number and size",
        {
            "current_images": [
                {"format": "PNG", "mode": "RGB", "size_bytes": 7},
                {"format": "JPEG", "mode": "RGB", "size_bytes": 10},
                {"format": "JPEG", "mode": "RGB", "size_bytes": 21},
                {"format": "JPEG", "mode": "L", "size_bytes": None},
                {"size_bytes": 1},
            ]
        },
        [
            {"format": "JPEG", "mode": "RGB", "images": 2, "size_bytes": 31, "mean_size_bytes": 16},
            {"format": "JPEG", "mode": "L", "images": 1, "size_bytes": None, "mean_size_bytes": None},
            {"format": "PNG", "mode": "RGB", "images": 1, "size_bytes": 7, "mean_size_bytes": 7},
        ],
    ),
    Case(
        "cookbook/resolutions",
        "images by their longer side, in steps that double; of what is not embedded or unknown no size counts",
        {
            "current_images": [
                *(
                    {"status": "embedded", "width_px": w, "height_px": h}
                    for w, h in ((512, 9), (9, 1023), (1024, 1), (1, 1))
                ),
                {"status": "failed", "width_px": 70, "height_px": 70},
                {"status": "embedded"},
            ]
        },
        [
            {"longer_side_from_px": 1, "longer_side_to_px": 1, "images": 1, "images_share": 0.25},
            {"longer_side_from_px": 512, "longer_side_to_px": 1023, "images": 2, "images_share": 0.5},
            {"longer_side_from_px": 1024, "longer_side_to_px": 2047, "images": 1, "images_share": 0.25},
        ],
    ),
    Case(
        "cookbook/odd_shapes",
        "wide and tall ones alike, the longest first; the ratio itself counts",
        {
            "current_images": [
                {"uri": "u1", "status": "embedded", "width_px": 30, "height_px": 10},
                {"uri": "u2", "status": "embedded", "width_px": 10, "height_px": 45},
                {"uri": "u3", "status": "embedded", "width_px": 29, "height_px": 10},
                {"uri": "u4", "status": "failed", "width_px": 90, "height_px": 10},
                {"uri": "u5", "status": "embedded"},
            ]
        },
        [
            {"ratio": 4.5, "width_px": 10, "height_px": 45, "uri": "u2"},
            {"ratio": 3.0, "width_px": 30, "height_px": 10, "uri": "u1"},
        ],
        {"ratio": 3.0, "rows": 20},
    ),
    Case(
        "cookbook/errors_by_folder",
        "each folder's reasons, the most frequent first",
        {
            "current_images": [
                {"folder": "a", "status": "failed", "error_code": "empty", "uri": "u2"},
                {"folder": "a", "status": "failed", "error_code": "empty", "uri": "u1"},
                {"folder": "b", "status": "failed", "error_code": "corrupt", "uri": "u3"},
                {"folder": "b", "status": "embedded", "uri": "u4"},
            ]
        },
        [
            {"folder": "a", "error_code": "empty", "images": 2, "example": "u1"},
            {"folder": "b", "error_code": "corrupt", "images": 1, "example": "u3"},
        ],
        {"rows": 20},
    ),
    Case(
        "cookbook/added_per_run",
        "each run's new images, what is still listed of them, and how many there are by then",
        {
            "images": outcomes(
                (1, "r1", "embedded", 1), (2, "r1", "embedded", 2), (3, "r2", "embedded", 3), (4, "r2", "failed", 4)
            ),
            "current_objects": [{"image_id": i} for i in (2, 3, 4)],
        },
        [
            {"run_id": "r1", "added": 2, "still_listed": 1, "embedded_so_far": 2, "last_at": NOON.replace(minute=2)},
            {"run_id": "r2", "added": 1, "still_listed": 1, "embedded_so_far": 3, "last_at": NOON.replace(minute=3)},
        ],
    ),
    Case(
        "cookbook/changed_at_source",
        "an image whose URI holds something else by now, with what it holds",
        {
            "images": [
                {"image_id": 1, "uri": "u1", "size_bytes": 5, "embedded_at": NOON},
                {"image_id": 2, "uri": "u2", "size_bytes": 6, "embedded_at": NOON},
            ],
            "current_images": [
                {"image_id": 9, "uri": "u1", "size_bytes": 7, "status": "pending"},
                {"image_id": 2, "uri": "u2", "size_bytes": 6, "status": "embedded"},
            ],
        },
        [{"uri": "u1", "old_read_at": NOON, "old_size_bytes": 5, "size_bytes": 7, "status": "pending"}],
        {"rows": 20},
    ),
    Case(
        "cookbook/gone_from_source",
        "an image whose URI no source lists, the last one read first; one that was replaced is not gone",
        {
            "images": [
                {"image_id": i, "uri": f"u{i}", "status": "embedded", "embedded_at": NOON.replace(minute=i)}
                for i in (1, 2, 3)
            ],
            "current_objects": [{"image_id": 9, "uri": "u3"}],
        },
        [{"uri": "u2", "status": "embedded"}, {"uri": "u1", "status": "embedded"}],
        {"rows": 20},
    ),
    Case(
        "cookbook/strangest_in_folder",
        "the image that is least like the others of its folder comes first",
        {
            "current_images": [
                {"uri": "u1", "folder": "a", "status": "embedded", "embedding": [1.0, 0.0]},
                {"uri": "u2", "folder": "a", "status": "embedded", "embedding": [1.0, 0.0]},
                {"uri": "u3", "folder": "a", "status": "embedded", "embedding": [0.0, 1.0]},
                {"uri": "u4", "folder": "a", "status": "failed", "embedding": [None]},
                {"uri": "u5", "folder": "b", "status": "embedded", "embedding": [0.0, 1.0]},
            ]
        },
        [{"mean_cosine": 0.0, "uri": "u3"}, {"mean_cosine": 0.5, "uri": "u1"}, {"mean_cosine": 0.5, "uri": "u2"}],
        {"folder": "a", "rows": 20},
    ),
    Case(
        "cookbook/strangest_in_folder",
        "an image that is alone has nothing to be like",
        {"current_images": [{"uri": "u1", "folder": "a", "status": "embedded", "embedding": [1.0, 0.0]}]},
        [{"mean_cosine": None, "uri": "u1"}],
        {"folder": "a", "rows": 20},
    ),
]

ASKING = [*SEARCH, *VIEWS_AND_MACROS, *COOKBOOK]
