"""Contact sheets: one HTML file with the store's own thumbnails in it, which loads nothing from anywhere.

A sheet is a title, a few lines of introduction, and sections of cards; a card is one image. Every text is escaped.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from store.errors import UsageError
from store.location import FolderLocation

_LINKED = ("https://", "http://", "file://")


@dataclass(frozen=True)
class Card:
    """One image: its thumbnail (WebP, or none), a heading, lines below it, and what it is marked with, if anything."""

    thumbnail: bytes | None
    heading: str
    lines: Sequence[str] = ()
    mark: str = ""  # one word, for example "kept"
    uri: str = ""  # the last line; a link where a browser can follow it


@dataclass(frozen=True)
class Section:
    """Cards under a title, with a sentence about them."""

    title: str
    cards: Sequence[Card]
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """A whole page."""

    title: str
    intro: Sequence[str]
    sections: Sequence[Section]


def render(sheet: Sheet) -> str:
    """Return the page as HTML."""
    page = Template(files(__package__).joinpath("sheet.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(sheet.title),
        intro="\n".join(f"<p>{escape(line)}</p>" for line in sheet.intro),
        sections="\n".join(map(_section, sheet.sections)),
    )


def write_sheet(place: str | Path, sheet: Sheet) -> None:
    """Write the page to a local file whose name ends in .html, replacing an older one when the new one is whole."""
    path = Path(place).expanduser().absolute()
    require_html(path)
    # A name on disk that is no Unicode reaches a URI's text as lone surrogates, which UTF-8 cannot hold.
    FolderLocation(path.parent).write(path.name, render(sheet).encode("utf-8", "backslashreplace"))


def require_html(place: str | Path) -> None:
    """Raise UsageError where a sheet's name does not say that it is one, so that no photo is ever written over."""
    if Path(place).suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"{place} is no name for a sheet.", do="Give one that ends in .html.")


def _section(section: Section) -> str:
    note = f"<p>{escape(section.note)}</p>\n" if section.note else ""
    cards = "\n".join(map(_card, section.cards))
    return f'<section>\n<h2>{escape(section.title)}</h2>\n{note}<div class="cards">\n{cards}\n</div>\n</section>'


def _card(card: Card) -> str:
    mark = f' <span class="mark">{escape(card.mark)}</span>' if card.mark else ""
    lines = "".join(f"<br>{escape(line)}" for line in card.lines)
    return (
        f"<figure>{_picture(card)}<figcaption><b>{escape(card.heading)}</b>{mark}{lines}"
        f"{_uri(card.uri)}</figcaption></figure>"
    )


def _picture(card: Card) -> str:
    if not card.thumbnail:
        return '<div class="none">no thumbnail</div>'
    data = b64encode(card.thumbnail).decode()
    return f'<img alt="{escape(card.uri or card.heading)}" loading="lazy" src="data:image/webp;base64,{data}">'


def _uri(uri: str) -> str:
    if not uri:
        return ""
    shown = escape(uri)
    if uri.startswith(_LINKED):
        return f'<br><a href="{shown}" rel="noreferrer">{shown}</a>'
    return f'<br><span class="uri">{shown}</span>'
