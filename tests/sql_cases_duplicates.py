"""What the queries of duplicates answer; see test_sql_queries.py."""

import uuid

import pyarrow as pa

from store.schema import CROWDS, NEIGHBORS, images_schema
from tests.sql_cases import Case, Row

DUPLICATE_SCHEMAS = {
    **dict.fromkeys(["neighbor_rows", "pair_rows", "neighbors"], NEIGHBORS),
    "candidates": images_schema(2),
    "sampled": NEIGHBORS.append(pa.field("number", pa.int64())),
    **dict.fromkeys(
        ["ranked", "standing"],
        pa.schema(
            {
                "place": pa.int64(),
                "image_id": pa.uuid(),
                "never": pa.bool_(),
                "group_name": pa.string(),
                "_pixels": pa.int64(),
                "sha256": pa.string(),
                "content": pa.string(),
            }
        ),
    ),
    **dict.fromkeys(["member_rows", "crowd_rows", "crowds"], CROWDS),
    "close_images": pa.schema({"image_id": pa.uuid()}),
    "crowd_images": pa.schema({"image_id": pa.uuid(), "crowd_id": pa.uuid()}),
    "crowd_parts": pa.schema(
        {
            "crowd_id": pa.uuid(),
            "group_name": pa.string(),
            "never": pa.bool_(),
            "place": pa.int64(),
            "stands": pa.bool_(),
        }
    ),
    "tied": pa.schema({"place": pa.int64(), "first_place": pa.int64()}),
    "near_pairs": NEIGHBORS.append(pa.field("number", pa.int64())),
    "in_order": pa.schema({"image_id": pa.uuid(), "size_bytes": pa.int64()}),
    "duplicates": pa.schema(
        {
            "image_id": pa.uuid(),
            "duplicate_of": pa.uuid(),
            "cosine": pa.float32(),
            "size_bytes": pa.int64(),
            "tier": pa.string(),
        }
    ),
    "held_for": pa.schema({"image_id": pa.uuid(), "rule_number": pa.int32()}),
    "keepers": pa.schema({"image_id": pa.uuid()}),
}


def pair(first: int, second: int, cosine: float = 0.96) -> Row:
    """A row of pairs."""
    return {"image_id": first, "neighbor_id": uuid.UUID(int=second), "cosine": cosine}


def ranked(*contents: str, groups: str = "", never: str = "") -> list[Row]:
    """Ranked images 1, 2, … of these contents, in groups of one letter each; `never` has a letter for each, or none."""
    return [
        {
            "place": place,
            "image_id": place + 1,
            "content": content,
            "sha256": content,
            "_pixels": ord(content),
            "group_name": groups[place] if groups else "",
            "never": never[place : place + 1] == "n",
        }
        for place, content in enumerate(contents)
    ]


def edge(better: int, worse: int, cosine: float = 0.96, *, may_be_same: int = 0) -> Row:
    """A row of edges; the cosine as a FLOAT holds it."""
    cosine = pa.scalar(cosine, pa.float32()).as_py()
    return {"better": better, "worse": worse, "cosine": cosine, "may_be_same": may_be_same}


def edge_by_content(better: int, worse: int, tier: int = 0) -> Row:
    """A row of edges by content."""
    return {"better": better, "worse": worse, "cosine": 1.0, "tier": tier}


def gone(image_id: int, duplicate_of: int, cosine: float, tier: str = "near-duplicate") -> Row:
    """A row of duplicates."""
    return {"image_id": image_id, "duplicate_of": uuid.UUID(int=duplicate_of), "cosine": cosine, "tier": tier}


def member(image_id: int, of: int, column: str = "member_of") -> Row:
    """A row of crowds."""
    return {"image_id": image_id, column: uuid.UUID(int=of)}


def in_crowd(image_id: int, of: int) -> Row:
    """A row of the images of crowds."""
    return member(image_id, of, "crowd_id")


def part(of: int, place: int, group: str = "", *, never: bool = False, stands: bool = True) -> Row:
    """A row of the parts of crowds."""
    return {
        "crowd_id": uuid.UUID(int=of),
        "group_name": group,
        "never": never,
        "place": place,
        "stands": stands,
    }


PAIRS = [pair(1, 2, 0.96), pair(1, 3, 0.95), pair(2, 3, 0.94)]
EMBEDDED = [{"image_id": i, "status": "embedded"} for i in (1, 2, 3)]

DUPLICATES = [
    Case(
        "duplicates/found",
        "a sampled pair is found where it stands, and only there",
        {
            "neighbor_rows": [pair(1, 2), pair(3, 4)],
            "sampled": [{**pair(1, 2), "number": 7}, {**pair(1, 3), "number": 8}, {**pair(2, 4), "number": 9}],
        },
        [{"number": 7}],
    ),
    Case(
        "duplicates/close_images",
        "both images of a pair at the threshold are listed, once for each pair, and equality is included",
        {"pair_rows": [pair(1, 2), pair(2, 3, 0.95), pair(4, 5, 0.9499)]},
        [{"image_id": 1}, {"image_id": 2}, {"image_id": 2}, {"image_id": 3}],
        {"at": 0.95},
    ),
    Case(
        "duplicates/close_images",
        "pairs from 0.99 on are looked at though the threshold is higher",
        {"pair_rows": [pair(1, 2, 0.99), pair(3, 4, 0.98)]},
        [{"image_id": 1}, {"image_id": 2}],
        {"at": 1.0},
    ),
    Case(
        "duplicates/close_pairs",
        "pairs at the threshold are counted, equality included",
        {"pair_rows": [pair(1, 2), pair(2, 3, 0.95), pair(4, 5, 0.9499)]},
        [{"pairs": 2}],
        {"at": 0.95},
    ),
    Case(
        "duplicates/close_pairs",
        "and those from 0.99 on though the threshold is higher",
        {"pair_rows": [pair(1, 2, 0.99), pair(3, 4, 0.98)]},
        [{"pairs": 1}],
        {"at": 1.0},
    ),
    Case(
        "duplicates/close_by_content",
        "images are listed whose pixels, or where these are unknown whose bytes, another image has too",
        {
            "candidates": [
                {"image_id": 1, "sha256": "a", "pixels_sha256": "p"},
                {"image_id": 2, "sha256": "b", "pixels_sha256": "p"},
                {"image_id": 3, "sha256": "a", "pixels_sha256": "q"},
                {"image_id": 4, "sha256": "c"},
                {"image_id": 5, "sha256": "c"},
                {"image_id": 6},
                {"image_id": 7},
            ]
        },
        [{"image_id": 1}, {"image_id": 2}, {"image_id": 4}, {"image_id": 5}],
    ),
    Case(
        "duplicates/edges",
        "pairs at the threshold count, the better image of each first",
        {
            "pair_rows": [pair(1, 4, 0.95), pair(2, 4, 0.96), pair(3, 4, 0.96), pair(1, 2, 0.95), pair(1, 3, 0.94)],
            "standing": ranked("a", "b", "c", "d"),
        },
        [edge(0, 1, 0.95), edge(0, 3, 0.95), edge(1, 3), edge(2, 3)],
        {"at": 0.95, "groups": "any"},
    ),
    Case(
        "duplicates/edges",
        "pairs from 0.99 on are there at any threshold, and may be of the same content if of one size, or of unknown",
        {
            "pair_rows": [*(pair(1, k, 0.99) for k in (2, 3, 5)), pair(2, 3, 0.98), pair(3, 4, 0.98)],
            "standing": [*ranked("a", "a", "b", "b"), {"place": 4, "image_id": 5, "never": False, "_pixels": -1}],
        },
        [edge(0, 1, 0.99, may_be_same=1), edge(0, 2, 0.99), edge(0, 4, 0.99, may_be_same=1)],
        {"at": 1.0, "groups": "any"},
    ),
    Case(
        "duplicates/edges",
        "a pair with an image that is not ranked, or of two that are never removed, is none",
        {
            "pair_rows": [pair(1, 2), pair(1, 3), pair(3, 9)],
            "standing": ranked("a", "b", "c", never="nn "),
        },
        [edge(0, 2)],
        {"at": 0.95, "groups": "any"},
    ),
    Case(
        "duplicates/edges",
        "within groups, only pairs of one group count",
        {
            "pair_rows": [pair(1, 2), pair(1, 3), pair(2, 3)],
            "standing": ranked("a", "b", "c", groups="xyx"),
        },
        [edge(0, 2)],
        {"at": 0.95, "groups": "same"},
    ),
    Case(
        "duplicates/edges",
        "across groups, only pairs of two groups count; an image without a group is in none",
        {
            "pair_rows": [pair(1, 2), pair(1, 3), pair(2, 3), pair(1, 4)],
            "standing": [*ranked("a", "b", "c", groups="xyx"), {"place": 3, "image_id": 4, "never": False}],
        },
        [edge(0, 1), edge(1, 2)],
        {"at": 0.95, "groups": "different"},
    ),
    Case(
        "duplicates/edges_by_content",
        "every image is paired with the best of its content",
        {"ranked": ranked("a", "b", "a", "b", "a", "c")},
        [edge_by_content(0, 2), edge_by_content(0, 4), edge_by_content(1, 3)],
        {"groups": "any"},
    ),
    Case(
        "duplicates/edges_by_content",
        "within groups it is the best of the group",
        {"ranked": ranked("a", "a", "a", "a", groups="xyyx")},
        [edge_by_content(0, 3), edge_by_content(1, 2)],
        {"groups": "same"},
    ),
    Case(
        "duplicates/edges_by_content",
        "across groups it is the best of another group, and what is never removed has none",
        {"ranked": ranked("a", "a", "a", "a", groups="xxyz", never="nn  ")},
        [edge_by_content(0, 2), edge_by_content(0, 3)],
        {"groups": "different"},
    ),
    Case(
        "duplicates/edges_by_content",
        "the tier says whether the bytes are those of the best, too; unknown ones are not",
        {
            "ranked": [
                {**one, "sha256": sha256}
                for one, sha256 in zip(ranked(*"aaabb"), ("s", "t", "s", None, "u"), strict=True)
            ]
        },
        [edge_by_content(0, 1, 1), edge_by_content(0, 2), edge_by_content(3, 4, 1)],
        {"groups": "any"},
    ),
    Case(
        "duplicates/same_content",
        "pairs are compared by bytes and by pixels; unknown hashes are the same as none",
        {
            "near_pairs": [
                {**pair(a, b, 0.75), "number": number}
                for number, a, b in ((0, 1, 2), (1, 1, 3), (2, 1, 4), (3, 1, 5), (4, 6, 5), (5, 7, 8))
            ],
            "images": [
                {"image_id": 1, "sha256": "a", "pixels_sha256": "p"},
                {"image_id": 2, "sha256": "a", "pixels_sha256": "p"},
                {"image_id": 3, "sha256": "b", "pixels_sha256": "p"},
                {"image_id": 4, "sha256": "c", "pixels_sha256": "q"},
                {"image_id": 5, "sha256": "a"},
                {"image_id": 6, "sha256": "a"},
                {"image_id": 7},
                {"image_id": 8},
            ],
        },
        [
            {"number": 0, "tier": 0, "cosine": 1.0},
            {"number": 1, "tier": 1, "cosine": 1.0},
            {"number": 3, "tier": 0, "cosine": 0.75},
            {"number": 4, "tier": 0, "cosine": 1.0},
        ],
    ),
    Case(
        "duplicates/settled",
        "images that are tied come by URI, and keep their places among the others",
        {
            "in_order": [{"image_id": k} for k in (1, 2, 3, 4, 5)],
            "tied": [{"place": place, "first_place": 1} for place in (1, 2, 3)],
            "current_objects": [{"image_id": k, "uri": f"u{9 - k}"} for k in (1, 2, 3, 4, 5)],
        },
        [{"image_id": k} for k in (1, 4, 3, 2, 5)],
    ),
    Case(
        "duplicates/images",
        "only embedded images could have duplicates",
        {"current_images": [{"status": "embedded"}, {"status": "embedded"}, {"status": "failed"}]},
        [{"images": 2}],
    ),
    Case(
        "duplicates/listed",
        "groups come by the URI of the kept image, the nearest duplicate first, with the size of both",
        {
            "duplicates": [gone(1, 4, 0.5), gone(2, 4, 0.75), gone(3, 5, 0.5)],
            "images": [
                {"image_id": i, "uri": f"u{9 - i}", "width_px": i, "height_px": 10 * i, "size_bytes": 100 * i}
                for i in range(1, 7)
            ],
        },
        [
            {"duplicate_of": "u4", "uri": "u6", "cosine": 0.5, "kept_width_px": 5, "width_px": 3, "size_bytes": 300},
            {"duplicate_of": "u5", "uri": "u7", "cosine": 0.75, "kept_width_px": 4, "width_px": 2, "size_bytes": 200},
            {"duplicate_of": "u5", "uri": "u8", "cosine": 0.5, "kept_width_px": 4, "width_px": 1, "size_bytes": 100},
        ],
        {"at_most": 9},
    ),
    Case(
        "duplicates/listed",
        "of so many, these are the least alike",
        {
            "duplicates": [gone(1, 4, 0.75), gone(2, 4, 0.5), gone(3, 5, 0.5)],
            "images": [{"image_id": i, "uri": f"u{i}"} for i in range(1, 7)],
        },
        [{"uri": "u2", "cosine": 0.5}, {"uri": "u3", "cosine": 0.5}],
        {"at_most": 2},
    ),
    Case(
        "duplicates/eligible",
        "what another rule takes away takes no part; what a rule above keeps, or what was a keeper, is never removed",
        {
            "held_for": [
                *({"image_id": k, "rule_number": k} for k in (1, 2, 3, 4, 5)),
                *({"image_id": k} for k in (6, 7)),
            ],
            "keepers": [{"image_id": 1}, {"image_id": 7}],
            "rules": [
                {"number": 1, "decision": "remove"},
                {"number": 2, "decision": "keep"},
                {"number": 3, "decision": "remove"},
                {"number": 4, "decision": "keep"},
                {"number": 5, "decision": "quarantine"},
            ],
        },
        [
            {"image_id": 2, "never_removed": True},
            {"image_id": 4, "never_removed": False},
            {"image_id": 6, "never_removed": False},
            {"image_id": 7, "never_removed": True},
        ],
        {"number": 3},
    ),
    Case(
        "duplicates/named",
        "a duplicate has the URI of what is kept for it",
        {"duplicates": [gone(1, 3, 0.5)], "current_objects": [{"image_id": k, "uri": f"u{k}"} for k in (1, 2, 3)]},
        [{"image_id": 1, "duplicate_of_id": 3, "duplicate_of": "u3", "cosine": 0.5}],
    ),
    Case("duplicates/none", "there are none", {}, []),
    Case(
        "duplicates/summary",
        "the surest tier comes first, with what it frees",
        {
            "duplicates": [
                {**gone(1, 4, 0.5), "size_bytes": 10},
                {**gone(2, 4, 1.0, "same bytes"), "size_bytes": 100},
                {**gone(3, 4, 0.75), "size_bytes": 1000},
            ]
        },
        [
            {"tier": "same bytes", "removed": 1, "size_bytes": 100},
            {"tier": "near-duplicate", "removed": 2, "size_bytes": 1010},
        ],
    ),
    Case(
        "views/neighbors",
        "a pair is shown where the sources still hold both",
        {"neighbor_rows": PAIRS, "current_objects": [{"image_id": 1}, {"image_id": 3}]},
        [{"image_id": 1, "neighbor_id": 3}],
    ),
    Case(
        "checks/neighbors_are_pairs", "pairs of embedded images are sound", {"neighbors": PAIRS, "images": EMBEDDED}, []
    ),
    Case(
        "checks/neighbors_are_pairs",
        "a pair that stands twice or turned round, with a failed image, or with no cosine, is found",
        {
            "neighbors": [pair(1, 2), pair(1, 2), pair(2, 1), pair(1, 3, 1.5), pair(2, 4)],
            "images": [*EMBEDDED, {"image_id": 4, "status": "failed"}],
        },
        [
            {"image_id": 1, "neighbor_id": 2},
            {"image_id": 1, "neighbor_id": 3},
            {"image_id": 2, "neighbor_id": 1},
            {"image_id": 2, "neighbor_id": 4},
        ],
    ),
    Case(
        "duplicates/crowd_images",
        "the image that was compared is of the crowd too, once",
        {"member_rows": [member(1, 3), member(2, 3), member(5, 4)]},
        [{"image_id": k, "crowd_id": of} for k, of in ((1, 3), (2, 3), (3, 3), (4, 4), (5, 4))],
    ),
    Case(
        "duplicates/close_in_crowds",
        "images of crowds are close to another one",
        {"close_images": [{"image_id": 1}], "crowd_images": [in_crowd(2, 3), in_crowd(3, 3)]},
        [{"image_id": 1}, {"image_id": 2}, {"image_id": 3}],
    ),
    Case(
        "duplicates/crowd_parts",
        "a part is of one group and of what may be removed or not; the best of it is named, and all stand",
        {
            "ranked": ranked(*"abcde", groups="xxyxx", never="nn"),
            "crowd_images": [in_crowd(k, 9) for k in (1, 2, 3, 4, 5, 9)],
            "pair_rows": [],
        },
        [
            {**part(9, 3, "x"), "crowd_id": 9, "images": 2},
            {**part(9, 0, "x", never=True), "crowd_id": 9, "images": 2},
            {**part(9, 2, "y"), "crowd_id": 9, "images": 1},
        ],
        {"at": 0.95, "groups": "same"},
    ),
    Case(
        "duplicates/crowd_parts",
        "of different groups the best three stand, and those that an image near a crowd or another's best is of",
        {
            "ranked": ranked(*"abcdefghij", groups="uvwxyzxyyy"),
            "crowd_images": [*(in_crowd(k, 1) for k in (1, 2, 3, 4, 5, 6)), in_crowd(8, 8)],
            "pair_rows": [pair(1, 7, 0.95), pair(1, 9, 0.94), pair(9, 10)],
        },
        [
            {"place": 0, "stands": True},
            {"place": 1, "stands": True},
            {"place": 2, "stands": True},
            {"place": 3, "stands": True},
            {"place": 4, "stands": True},
            {"place": 5, "stands": False},
            {"place": 7, "stands": True},
        ],
        {"at": 0.95, "groups": "different"},
    ),
    Case(
        "duplicates/crowd_parts",
        "an image without a group is in none",
        {
            "ranked": [{"place": 0, "image_id": 1, "never": False}],
            "crowd_images": [in_crowd(1, 1)],
            "pair_rows": [],
        },
        [],
        {"at": 0.95, "groups": "same"},
    ),
    Case(
        "duplicates/crowded",
        "every ranked image of a crowd has its part",
        {
            "ranked": ranked(*"abc", groups="xyx"),
            "crowd_images": [in_crowd(k, 9) for k in (1, 2, 3)],
            "crowd_parts": [part(8, 7, "x"), part(9, 0, "x"), part(9, 1, "y")],
        },
        [{"place": 0, "part": 1}, {"place": 1, "part": 2}, {"place": 2, "part": 1}],
    ),
    Case(
        "duplicates/standing",
        "the best of a part stands for its crowd, under the id that was compared, unlike any other in its pixels",
        {
            "ranked": ranked(*"abcd", groups="xxyy", never="n"),
            "crowd_images": [in_crowd(k, 9) for k in (2, 3, 4)],
            "crowd_parts": [part(9, 1, "x"), part(9, 2, "y", stands=False)],
        },
        [
            {"image_id": 1, "place": 0, "group_name": "x", "never": False, "_pixels": ord("a")},
            {"image_id": 9, "place": 1, "group_name": "x", "never": False, "_pixels": -3},
        ],
    ),
    Case(
        "duplicates/crowd_edges",
        "what stands for one crowd is paired, the better one first",
        {"crowd_parts": [part(9, 2, "x"), part(9, 0, "y"), part(9, 1, "z", stands=False), part(8, 3, "x")]},
        [{"better": 0, "worse": 2}],
        {"groups": "any"},
    ),
    *(
        Case(
            "duplicates/crowd_edges",
            f"only pairs of {groups} groups count",
            {"crowd_parts": [part(9, 0, "x"), part(9, 1, "x", never=True), part(9, 2, "y")]},
            [{"better": better, "worse": worse} for better, worse in expected],
            {"groups": groups},
        )
        for groups, expected in (("same", [(0, 1)]), ("different", [(0, 2), (1, 2)]))
    ),
    Case(
        "views/crowds",
        "an image is shown where the sources still hold it, whether they hold the one that was compared or not",
        {"crowd_rows": [member(1, 9), member(2, 9)], "current_objects": [{"image_id": 1}]},
        [{"image_id": 1, "member_of": 9}],
    ),
    Case(
        "checks/crowds_are_equal",
        "members of one embedding, in no pair, are sound",
        {
            "crowds": [member(1, 3), member(2, 3)],
            "images": [{**one, "embedding": [0.6, 0.8]} for one in EMBEDDED],
            "neighbors": [pair(3, 4)],
        },
        [],
    ),
    Case(
        "checks/crowds_are_equal",
        "one that failed, stands twice, is in a pair, is compared for others, or has another embedding is found",
        {
            "crowds": [
                *(member(1, 9), member(2, 9), member(2, 9), member(3, 9)),
                *(member(4, 9), member(5, 9), member(6, 9), member(7, 6)),
            ],
            "images": [
                *({"image_id": k, "status": "embedded", "embedding": [0.6, 0.8]} for k in (1, 2, 3, 6, 7)),
                {"image_id": 4, "status": "failed", "embedding": [0.6, 0.8]},
                {"image_id": 5, "status": "embedded", "embedding": [0.8, 0.6]},
            ],
            "neighbors": [pair(3, 8)],
        },
        [{"image_id": k} for k in (2, 2, 3, 4, 5, 6)],
    ),
]

ORDERED_DUPLICATES = {f"duplicates/{name}" for name in ("listed", "settled", "summary")}
