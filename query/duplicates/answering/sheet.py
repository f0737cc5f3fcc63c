"""Groups of duplicates as one looks at them: the kept image first, then what goes for it, with cosines and sizes."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from query.duplicates.answering.ask import Duplicates
from query.opened import Opened
from query.sheet import Card, Section, Sheet
from sql import load

MOST_GROUPS = 200
MOST_CARDS = 24


def sheet_of(opened: Opened, found: Duplicates) -> Sheet:
    """Return a contact sheet of the groups, those with the least alike pair first: they deserve a look."""
    groups = [list(rows) for _, rows in groupby(found.rows.to_pylist(), key=lambda row: row["duplicate_of_id"])]
    doubtful = sorted(groups, key=lambda rows: (min(row["cosine"] for row in rows), rows[0]["duplicate_of"]))
    shown = doubtful[:MOST_GROUPS]
    ids = {row[name] for rows in shown for row in rows[:MOST_CARDS] for name in ("duplicate_of_id", "image_id")}
    thumbnails = _thumbnails(opened, ids)
    intro = [
        f"{found.removed:,} duplicates of {found.groups:,} images that stay, of {found.images:,} images in all.",
        f"From {opened.store.location.uri}; {found.asked}.",
        *([f"Shown: the {len(shown):,} groups with the least alike pairs."] if len(groups) > len(shown) else []),
        *([opened.store.encoder.caution] if opened.store.encoder.caution else []),
    ]
    return Sheet("Duplicates", intro, [_section(rows, thumbnails) for rows in shown])


def _section(rows: Sequence[dict[str, Any]], thumbnails: dict[Any, bytes]) -> Section:
    first = rows[0]
    kept = Card(
        thumbnails.get(first["duplicate_of_id"]),
        "stays",
        (_facts(first, "kept_"),),
        mark="kept",
        uri=first["duplicate_of"],
    )
    gone = [
        Card(
            thumbnails.get(row["image_id"]),
            f"cosine {row['cosine']:.4f}",
            (row["tier"], _facts(row, "")),
            uri=row["uri"],
        )
        for row in rows[:MOST_CARDS]
    ]
    more = f"and {len(rows) - MOST_CARDS:,} more" if len(rows) > MOST_CARDS else ""
    return Section(f"{len(rows):,} of {first['duplicate_of'].rsplit('/', 1)[-1]}", [kept, *gone], more)


def _facts(row: dict[str, Any], prefix: str) -> str:
    """Return size and bytes as one line; of an imported image they may be unknown."""
    width, height, size = (row[prefix + name] for name in ("width_px", "height_px", "size_bytes"))
    return ", ".join([*([f"{width} x {height}"] if width else []), *([f"{size / 1000:,.0f} kB"] if size else [])])


def _thumbnails(opened: Opened, image_ids: Collection[Any]) -> dict[Any, bytes]:
    asked = {"image_ids": [str(image_id) for image_id in image_ids]}
    rows = opened.connection.sql(load("asking/thumbnails"), params=asked).to_arrow_table().to_pylist()
    return {row["image_id"]: row["webp"] for row in rows}
