"""Exact search: every embedding is compared with the vector that is looked for; nothing is approximate.

One pass over the embeddings finds the nearest rows without asking whether they still count, which would cost a join
with every row; of the few that it finds, those that do not count are dropped. Where that leaves too few, or a condition
limits what may be found, a second pass compares only what counts.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from query.asking.vectors import ImageTowerOf, Picture, Vector, Wanted, combined, find_picture
from query.opened import Opened
from query.rules.policies.condition import cannot_be_applied, check_condition, parse_condition, require_scores
from query.scoring.concepts import shipped_names
from query.scoring.score_sets import image_parts
from query.sheet import Card, Section, Sheet
from sql import load

_COSINE = (
    "A cosine says how alike two vectors are: 1 is the same, and a text with a photo that fits it seldom passes 0.35."
)

_SPARE = 256
"""So many more rows are taken in the first pass, as some may have been deleted, replaced or read twice."""


@dataclass(frozen=True)
class Found:
    """The answer: `rows` is rank, cosine, uri, width_px, height_px, format, size_bytes, image_id; nearest first."""

    wanted: Wanted
    rows: pa.Table
    pictures: Mapping[str, Picture]  # the images that were asked with, by the words that named them


def search(opened: Opened, wanted: Wanted, texts: Mapping[str, Vector], image_tower_of: ImageTowerOf) -> Found:
    """Return the images nearest to what is wanted; `texts` are the vectors of its texts."""
    words = dict.fromkeys((*wanted.images, *wanted.minus_images))
    pictures = {word: find_picture(opened, word, image_tower_of) for word in words}
    plus = [*(texts[text] for text in wanted.texts), *(pictures[word].vector for word in wanted.images)]
    minus = [*(texts[text] for text in wanted.minus), *(pictures[word].vector for word in wanted.minus_images)]
    return Found(wanted, nearest(opened, combined(plus, minus), wanted.top, wanted.where), pictures)


def nearest(opened: Opened, vector: Vector, top: int, where: str = "") -> pa.Table:
    """Return the `top` images with the highest cosine to a vector of length 1, of those for which `where` holds."""
    if not where.strip():
        found = _pass(opened, "asking/nearest", vector, top + _SPARE, top)
        if found.num_rows == top:
            return found
    _ask(opened, where)
    return _pass(opened, "asking/nearest_asked", vector, top, top)


def _pass(opened: Opened, name: str, vector: Vector, rows: int, top: int) -> pa.Table:
    opened.connection.execute(load(name), {"vector": vector.tolist(), "rows": rows})
    return opened.connection.sql(load("asking/found"), params={"top": top}).to_arrow_table()


def _ask(opened: Opened, where: str) -> None:
    """Fill the table `asked`: the ids of the images that may be found. A condition is checked code, and no value."""
    condition = parse_condition(opened.connection, where.strip() or "true", f"--where {where!r}")
    check_condition(opened.connection, "candidates", condition, opened.columns, shipped_names())
    require_scores([condition], opened.scored, image_parts(opened.store))
    source = opened.candidates_with(condition.names)
    try:
        query = f"select image_id from {source} where {condition.sql}"  # noqa: S608
        opened.connection.execute(f"create or replace temp table asked as {query}")
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise cannot_be_applied(condition.what, error) from error


def sheet_of(opened: Opened, found: Found) -> Sheet:
    """Return a contact sheet of what was found, below the images that were asked with."""
    rows, wanted, encoder = found.rows.to_pylist(), found.wanted, opened.store.encoder
    asked = {picture.image_id for picture in found.pictures.values() if picture.image_id}
    thumbnails = _thumbnails(opened, asked | {row["image_id"] for row in rows})
    intro = [
        *([f"Only where {wanted.where}."] if wanted.where.strip() else []),
        f"From {opened.store.location.uri}.",
        _COSINE,
        *([encoder.caution] if encoder.caution else []),
    ]
    sections = [Section(f"{len(rows):,} found", [_card(row, thumbnails.get(row["image_id"])) for row in rows])]
    if found.pictures:
        cards = [Card(p.thumbnail or thumbnails.get(p.image_id), word) for word, p in found.pictures.items()]
        sections.insert(0, Section("Asked with", cards))
    return Sheet(str(wanted), intro, sections)


def _card(row: dict[str, Any], picture: bytes | None) -> Card:
    return Card(picture, f"{row['rank']}", (f"cosine {row['cosine']:.4f}", _facts(row)), uri=row["uri"])


def _facts(row: dict[str, Any]) -> str:
    """Return size and format as one line; of an imported image they may be unknown."""
    sides = f"{row['width_px']} x {row['height_px']} {row['format'] or ''}".strip() if row["width_px"] else ""
    size = f"{row['size_bytes'] / 1000:,.0f} kB" if row["size_bytes"] is not None else ""
    return ", ".join(filter(None, [sides, size]))


def _thumbnails(opened: Opened, image_ids: Collection[uuid.UUID]) -> dict[uuid.UUID | None, bytes]:
    ids = [str(image_id) for image_id in image_ids]
    table = opened.connection.sql(load("asking/thumbnails"), params={"image_ids": ids}).to_arrow_table()
    return {row["image_id"]: row["webp"] for row in table.to_pylist()}
