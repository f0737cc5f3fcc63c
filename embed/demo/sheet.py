"""A contact sheet: one HTML file with the store's own thumbnails in it, which loads nothing from anywhere."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
h2 { margin: 2rem 0 .25rem } p { margin: 0 0 .75rem; color: #555 }
section { display: flex; flex-wrap: wrap; gap: 10px }
figure { margin: 0; width: 160px } img { width: 160px; height: 120px; object-fit: contain; background: #eee }
figcaption { font-size: 12px; overflow-wrap: anywhere }
"""


def write_sheet(place: Path, title: str, sections: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    """Write the sheet: a section per title, a figure per row with `webp` (bytes), `caption` and `uri`."""
    parts = [
        f"<h2>{escape(name)}</h2><section>{''.join(map(_figure, rows))}</section>" for name, rows in sections.items()
    ]
    place.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}</html>\n",
        encoding="utf-8",
    )


def _figure(row: Mapping[str, object]) -> str:
    picture = base64.b64encode(bytes(row["webp"])).decode()  # type: ignore[call-overload]  # bytes, by the contract above
    name = escape(str(row["uri"]).rsplit("/", 2)[-1])
    return (
        f'<figure><img alt="{name}" src="data:image/webp;base64,{picture}">'
        f"<figcaption>{escape(str(row['caption']))}<br>{name}</figcaption></figure>"
    )
