"""What is looked for, as one vector: texts and images that count for it, and others that count against it."""

import contextlib
import difflib
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from query.opened import Opened
from query.scoring.inputs import TextTowerOf
from sql import load
from store.encoder import Encoder
from store.errors import LocationError, MissingExtra, UnknownName, UsageError
from store.layout import EncoderStore
from store.prompts import add_prompts, read_prompts

Vector = npt.NDArray[np.float32]

TOP = 20

_NOTHING = 1e-6
"""A sum of unit vectors that is shorter points nowhere: what is left of it is rounding."""


class ImageTower(Protocol):
    """Turns a picture into a vector; handed in by the front door, since this room loads no torch."""

    def encode(self, name: str, data: bytes) -> tuple[Vector, bytes]:
        """Return (D,) float32, L2-normalised, and a small WebP; raise UsageError where the bytes are no picture."""


ImageTowerOf = Callable[[Encoder], ImageTower]


def no_image_tower(_encoder: Encoder) -> ImageTower:
    """Raise MissingExtra: what stands where nobody has handed in an image tower."""
    raise MissingExtra("There is no image tower here.", do="Open the store with `clipsieve.open`.")


@dataclass(frozen=True)
class Wanted:
    """What a search looks for. An image is one of the store (image_id, URI or key) or a file on disk."""

    texts: Sequence[str] = ()
    minus: Sequence[str] = ()
    images: Sequence[str] = ()
    minus_images: Sequence[str] = ()
    where: str = ""  # a SQL condition over the view `candidates`; empty where every image may be found
    top: int = TOP

    def __str__(self) -> str:
        """Return it as a person writes it: `a dog + b.jpg - a cat`."""
        plus, minus = (*self.texts, *self.images), (*self.minus, *self.minus_images)
        return " ".join([" + ".join(plus), *(f"- {word}" for word in minus)]).strip()

    def check(self) -> None:
        """Raise UsageError where there is nothing to look for."""
        words = [*self.texts, *self.minus, *self.images, *self.minus_images]
        if not words:
            raise UsageError("There is nothing to look for.", do="Give a text, or --image with a file or a key.")
        if not all(word.strip() for word in words):
            raise UsageError("A text or an image to look for is empty.")
        if self.top < 1:
            raise UsageError(f"The {self.top} nearest images cannot be found.", do="Ask for at least 1.")


@dataclass(frozen=True)
class Picture:
    """An image that is asked with: its vector, and its id where the store holds it, else a small WebP of its own."""

    vector: Vector
    image_id: uuid.UUID | None
    thumbnail: bytes | None = None


def text_vectors(store: EncoderStore, wanted: Wanted, text_tower_of: TextTowerOf) -> dict[str, Vector]:
    """Return the vector of each text, from the cache of prompts where it is there; what is encoded goes into it."""
    wanted.check()
    texts = list(dict.fromkeys([*wanted.texts, *wanted.minus]))
    cached = read_prompts(store) if texts else {}
    missing = [text for text in texts if text not in cached]
    if missing:
        vectors = _encoded(store.encoder, missing, list(cached), text_tower_of)
        with contextlib.suppress(LocationError):  # who may only read a store may ask it, and encodes again next time
            add_prompts(store, missing, vectors)
        cached.update(zip(missing, vectors, strict=True))
    return {text: cached[text] for text in texts}


def combined(plus: Sequence[Vector], minus: Sequence[Vector]) -> Vector:
    """Return (D,) float32 of length 1: the sum of one side less the sum of the other."""
    vectors = [*plus, *(-vector for vector in minus)]
    total = np.sum(np.stack(vectors).astype(np.float64), axis=0)
    length = float(np.linalg.norm(total))
    if length < _NOTHING:
        raise UsageError("What is looked for and what counts against it cancel out.", do="Leave one of them out.")
    return np.asarray(total / length, np.float32)


def find_picture(opened: Opened, word: str, image_tower_of: ImageTowerOf) -> Picture:
    """Return the image that a word means.

    The store's own images come first, their vectors are there already; a file on disk that the store has read under
    its path is one of them, any other is encoded.
    """
    named = _rows(opened, "asking/named", word=word)
    path = None if named else _file(word)
    if path is not None:
        known = _rows(opened, "asking/named", word="file://" + quote(os.fsencode(path.resolve())))
        named = [row for row in known if row["revision"] == _revision(path)]
        if not named:
            vector, thumbnail = image_tower_of(opened.store.encoder).encode(word, _read(path))
            return Picture(vector, None, thumbnail)
    if not named:
        raise _unknown(opened, word)
    if len(named) > 1:
        raise UsageError(
            f"{word!r} means {len(named)} images of the store.", do=f"Give a URI, for example {named[0]['uri']}."
        )
    return _stored(opened, named[0])


def _stored(opened: Opened, named: dict[str, Any]) -> Picture:
    rows = _rows(opened, "asking/embedding", image_id=str(named["image_id"]))
    if not rows:
        raise UsageError(f"{named['uri']} has not been read yet.", do="Finish `clipsieve embed` first.")
    if rows[0]["status"] != "embedded":
        reason = rows[0]["error_code"] or "it is no image"
        raise UsageError(f"{named['uri']} has no embedding: {reason}.", do="Ask with another image.")
    vector = np.asarray(rows[0]["embedding"], np.float32)
    return Picture(np.asarray(vector / np.linalg.norm(vector), np.float32), named["image_id"])


def _encoded(encoder: Encoder, texts: list[str], cached: list[str], text_tower_of: TextTowerOf) -> Vector:
    """Encode texts; where that cannot be done here, name the cached text that is nearest in spelling."""
    try:
        return text_tower_of(encoder).encode(texts)
    except MissingExtra as error:
        nearest = difflib.get_close_matches(texts[0], cached, 1, 0.6)
        also = f" Or ask for a text that is cached: {nearest[0]!r} is." if nearest else ""
        raise MissingExtra(error.what, error.why, error.do + also) from error


def _unknown(opened: Opened, word: str) -> UnknownName:
    nearest = _rows(opened, "asking/nearest_name", word=word)
    return UnknownName(
        f"{word!r} is no image of the store and no file.",
        do=f"Nearest: {nearest[0]['uri']}." if nearest else "The store lists no images yet.",
    )


def _rows(opened: Opened, name: str, **parameters: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = opened.connection.sql(load(name), params=parameters).to_arrow_table().to_pylist()
    return rows


def _file(word: str) -> Path | None:
    """Return the file on disk that a word names, or None where it names none."""
    try:
        path = Path(word).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # longer than a name may be, in a folder that nobody may look into, `~nobody`
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error


def _revision(path: Path) -> str:
    """Return what a store calls a file's content: see `revision` in docs/store.md."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"
