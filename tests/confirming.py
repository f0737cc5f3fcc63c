"""What the tests of a second look share: ten embedded pictures whose scores are put by hand, and the answers by key."""

from pathlib import Path
from typing import Any

import clipsieve
from embed.detect.run import Plan
from tests.embedding import embed, shelf
from tests.pictures import picture
from tests.stores import put_scores

NAMES = tuple(f"{k:02}{suffix}" for k, suffix in enumerate([".jpg", ".png", ".webp", ".gif", ".jpg"] * 2))
"""Picture k scores k / 10 as people."""

BAND = (0.35, 0.65)
IN_BAND = ("05.jpg", "04.jpg", "06.png")
"""What lies in the band, nearest to its middle first."""


def write_pictures(folder: Path) -> Path:
    """Write the pictures of NAMES; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        picture(number).resize((200 + 10 * number, 160)).save(folder / name)
    return folder


def scored_store(source: Path | str, store: Path | str, encoder: Path) -> None:
    """Embed `source` and put the scores of its pictures."""
    embed(source, store, encoder)
    set_scores(store)


def set_scores(store: Path | str) -> None:
    """Let picture k score k / 10 as people, whatever prefix its key has."""
    held = clipsieve.open(str(store)).store
    put_scores(held, {"people": {f"{prefix}{name}": int(name[:2]) / 10 for name in NAMES for prefix in ("", "in/")}})


def planned(store: Path | str, detector: str, between: tuple[float, float] = BAND, **options: Any) -> Plan:
    """Plan a second look at people, on the CPU."""
    return clipsieve.confirm(str(store), "people", between, detector, **{"device": "cpu", **options})


def seen(store: Path | str, column: str) -> dict[str, float]:
    """The answers in one column of the view `candidates`, by key, where there are any."""
    rows = clipsieve.open(str(store)).sql(f'select key, "{column}" as seen from candidates')  # noqa: S608  # a test's own
    return {row["key"]: row["seen"] for row in rows.to_pylist() if row["seen"] is not None}


def measurements(store: Path | str) -> list[dict[str, Any]]:
    """The rows of the view `measurements`, with keys; fails where the store is not sound."""
    session = clipsieve.open(str(store))
    report = session.verify()
    assert report.sound, report
    query = "select c.key, m.* from measurements as m join current_images as c using (image_id) order by key, label"
    return list(session.sql(query).to_pylist())


def rows_written(store: Path) -> int:
    """How many rows stand in all parts of measurements, also those that another one replaces."""
    import pyarrow.parquet as pq

    held = shelf(store)
    return sum(pq.read_metadata(Path(held.location.uri, name)).num_rows for name in held.parts("measurements"))
