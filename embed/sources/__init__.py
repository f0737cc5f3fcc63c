"""Where images come from. A source lists its objects page by page and reads one at a time; both from any thread."""

import os
import re
from pathlib import Path

from embed.sources.folder import FolderSource, path_of
from embed.sources.listing.files import Files
from embed.sources.listing.inventory import InventorySource
from embed.sources.lists import SUFFIXES, ListSource
from embed.sources.read import Fetched, ReadFailed, Source
from embed.sources.s3 import S3Source
from embed.sources.selection import Selected, Selection, selected
from embed.sources.tars import TarSource
from store.again import Again, at_once
from store.errors import SourceError, UsageError
from store.layout import EncoderStore
from store.s3 import S3Options

__all__ = ["EVERYTHING", "Fetched", "ReadFailed", "Selection", "Source", "open_source", "recalling", "refuse_overlap"]


_KNOWN = (
    "Give the folder that holds the images, s3://BUCKET/PREFIX/, tars (s3://BUCKET/{000..127}.tar, FOLDER/*.tar), or a "
    "list of URIs (.parquet, .csv)."
)
EVERYTHING = Selection()


def open_source(  # noqa: PLR0913  # the words of a source, most of which may be left out
    text: str,
    options: S3Options,
    selection: Selection = EVERYTHING,
    uri_column: str | None = None,
    inventory: str | None = None,
    *,
    again: Again = at_once,
) -> Source:
    """Return the source that a user's word means, or what is wanted of it; nothing is listed yet.

    `s3://bucket/prefix/` or a folder; tars, where it ends in `.tar`; a list, where it ends in `.parquet` or `.csv`.
    `again` is how S3 or a mount is asked for what lies there.
    """
    if text.endswith(SUFFIXES) and inventory is None:
        return ListSource(text, options, uri_column, selection, again=again)
    if uri_column is not None:
        raise UsageError(
            f"--uri-column is for a list, and {text} is none.", do=f"A list ends in {', '.join(SUFFIXES)}."
        )
    place = _place(text, options, again)
    if inventory is not None:
        if not isinstance(place, S3Source):
            raise UsageError(f"--inventory lists a prefix of S3, and {text} is none.", do="Leave it out.")
        place = InventorySource(place, inventory, lambda folder: Files.at(folder, options, again))
    return selected(place, selection)


def _place(text: str, options: S3Options, again: Again) -> Source:
    if text.endswith(".tar"):
        folder, pattern = _split(text)
        return TarSource(_place_of(folder, options, again), pattern)
    return _place_of(text, options, again)


def _place_of(text: str, options: S3Options, again: Again) -> FolderSource | S3Source:
    if text.startswith("s3://"):
        return S3Source(text, options, again)
    if "://" in text:
        raise UsageError(f"{text!r} is no source that clipsieve reads.", do=f"{_KNOWN} Pages are read from a list.")
    path = Path(text).expanduser()
    folder = FolderSource(path, again)
    if not folder.is_folder:
        raise SourceError(f"The source {text} {'is a file' if path.exists() else 'does not exist'}.", do=_KNOWN)
    return folder


def recalling(source: Source, store: EncoderStore) -> Source:
    """Return the same source, which does not ask again about what its last listing in this store tells: of tars."""
    if isinstance(source, TarSource):
        return source.recalling(store)
    return selected(recalling(source.source, store), source.selection) if isinstance(source, Selected) else source


def _split(text: str) -> tuple[str, str]:
    """Return the folder or prefix that tars lie below, and what is to be matched there."""
    folder = re.split(r"[*?{[]", text)[0].rpartition("/")[0]
    return folder or ".", text[len(folder) :].lstrip("/") if folder else text


def refuse_overlap(source: Source, store_uri: str) -> None:
    """Raise UsageError where the store lies inside the source, which would then list the store's own files."""
    if store_uri.startswith("s3://"):
        inside = f"{store_uri}/".startswith(source.uri)
    elif source.uri.startswith("file://") and source.uri.endswith("/"):
        folder = os.fsdecode(path_of(source.uri))
        inside = Path(os.path.realpath(store_uri)).is_relative_to(folder)
    else:
        inside = False
    if inside:
        raise UsageError(
            f"The store {store_uri} lies inside the source {source.uri}.",
            "Every run would list the store's own files as new images.",
            "Put the store somewhere else.",
        )
