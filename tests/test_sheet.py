"""A contact sheet is one file that loads nothing, shows what it was given, and takes no text for markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from query.sheet import Card, Section, Sheet, render, write_sheet
from store.errors import LocationError, UsageError

NASTY = "<script>alert('$title')</script> & \"quotes\""


class Page(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every tag of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def sheet(*cards: Card) -> Sheet:
    """A sheet with one section."""
    return Sheet(f"About {NASTY}", [f"Intro {NASTY}"], [Section(f"Section {NASTY}", cards, note=f"Note {NASTY}")])


def test_every_text_is_a_text() -> None:
    """Whatever stands in a title, a line, a heading, a mark or a URI is shown as it is and is no markup."""
    page = Page(render(sheet(Card(None, f"Heading {NASTY}", [f"Line {NASTY}"], f"Mark {NASTY}", f"URI {NASTY}"))))
    assert page.of("script") == []
    for where in ("About", "Intro", "Section", "Note", "Heading", "Line", "Mark", "URI"):
        assert f"{where} {NASTY}" in page.words, where


def test_pictures_are_in_the_page_and_nothing_else_is_loaded() -> None:
    """A thumbnail stands in the page itself; who has none says so; only a link that is clicked leads elsewhere."""
    page = Page(render(sheet(Card(b"webp", "1"), Card(None, "2", uri="https://example.org/a.jpg"))))
    assert [image["src"] for image in page.of("img")] == ["data:image/webp;base64,d2VicA=="]
    assert "no thumbnail" in page.words
    assert [link["href"] for link in page.of("a")] == ["https://example.org/a.jpg"]
    assert page.of("link") == []
    assert any("default-src 'none'" in str(meta.get("content")) for meta in page.of("meta"))
    (style,) = (text for text in page.words if "{" in text)
    assert not re.search(r"url\(|@import", style)


@pytest.mark.parametrize("uri", ["s3://bucket/k.jpg", "javascript:alert(1)", "data:text/html,x"])
def test_only_what_a_browser_may_follow_is_a_link(uri: str) -> None:
    """A URI is a link where it leads to a file or a web page, else a text."""
    page = Page(render(sheet(Card(None, "1", uri=uri))))
    assert page.of("a") == []
    assert uri in page.words


def test_a_sheet_is_written_whole(tmp_path: Path) -> None:
    """An older sheet is replaced; a file of another name is never written over, and nothing is left beside it."""
    place = tmp_path / "new" / "s.html"
    for title in ("first", "second \udcff"):
        write_sheet(place, Sheet(title, [], []))
    assert "<title>second" in place.read_text(encoding="utf-8")
    assert [file.name for file in place.parent.iterdir()] == ["s.html"]
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a photo")
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write_sheet(photo, Sheet("", [], []))
    assert photo.read_bytes() == b"a photo"
    with pytest.raises(LocationError):
        write_sheet(photo / "s.html", Sheet("", [], []))
