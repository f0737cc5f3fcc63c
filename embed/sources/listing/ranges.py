"""A listing of keys by many requests at once, in the order of the keys, as one request after the other would give it.

`list_objects_v2` answers a thousand keys at a time and says only then where to go on. So the range of keys that is left
is cut where folders begin or, within a folder, where the next character changes; each piece is listed by itself, and
cut again while workers are idle. A small prefix costs the few requests that it would cost anyway.
"""

import io
import pickle  # read back by the process that wrote it, from a file without a name
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from string import ascii_lowercase, ascii_uppercase, digits
from typing import IO, Any

LISTERS = 16
"""Requests at once; S3 answers 5,500 a second per prefix."""

_ALPHABETS = (digits, ascii_lowercase, ascii_uppercase)
_LEVELS = 3
"""At how many places of a key it is cut at once."""

_SMALL = 4
"""Answers after which a listing is worth to be cut: most prefixes end before."""

_IN_VAIN = 16
"""Requests that may find nothing before one in five may: a piece that is empty costs as much as one that is not."""

_END = "\U0010ffff"

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Page:
    """One answer: what it lists, how to ask for what follows (None: nothing does), and the folders that it names."""

    items: Items
    token: str | None = None
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What is asked: what follows a key (the empty one: from the start), or the page after a token; folders or all."""

    after: str = ""
    token: str | None = None
    folders: bool = False


Ask = Callable[[Question], Page]


@dataclass(eq=False)
class _Range:
    """The keys from `start` to before `end`; `pages` are places in the file where those found so far lie."""

    start: str
    end: str
    question: Question
    pages: list[tuple[int, int]] = field(default_factory=list)
    is_done: bool = False
    is_asked: bool = False


class Ranges:
    """Lists everything below a prefix, once."""

    def __init__(self, prefix: str, ask: Ask, listers: int = LISTERS) -> None:
        """Ask nothing yet; keys are compared as Unicode strings, which is the order of their UTF-8, and of S3."""
        self._prefix, self._ask, self._listers = prefix, ask, listers
        self._ranges = [_Range("", _END, Question())]
        self._may_cut = True
        self._knows_starts = False
        self._pages = self._in_vain = 0

    def pages(self) -> Iterator[Items]:
        """Yield what is there, in the order of the keys; raise what `ask` raises."""
        with (
            tempfile.TemporaryFile(prefix="clipsieve-listing-") as file,
            ThreadPoolExecutor(self._listers, thread_name_prefix="lister") as pool,
        ):
            running: dict[Future[Page], _Range] = {}
            try:
                while self._ranges:
                    self._start(pool, running)
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._take(running.pop(future), future.result(), file)
                    yield from self._ready(file)
            finally:
                for future in running:
                    future.cancel()

    def _start(self, pool: ThreadPoolExecutor, running: dict[Future[Page], _Range]) -> None:
        """Ask about the first ranges that nobody asks about, as many as there are workers."""
        for one in self._ranges:
            if len(running) >= self._listers:
                return
            if not one.is_done and not one.is_asked:
                one.is_asked = True
                running[pool.submit(self._ask, one.question)] = one

    def _take(self, one: _Range, page: Page, file: IO[bytes]) -> None:
        one.is_asked = False
        items = [item for item in page.items if one.start <= item["Key"] < one.end]
        if items:
            place = file.seek(0, io.SEEK_END)
            one.pages.append((place, file.write(pickle.dumps(items, pickle.HIGHEST_PROTOCOL))))
        self._pages += 1
        self._in_vain += not items
        one.is_done = page.token is None or any(item["Key"] >= one.end for item in page.items)
        if not one.is_done:
            one.question = Question(token=page.token)
            if items:
                self._cut(one, items[0]["Key"], items[-1]["Key"])

    def _ready(self, file: IO[bytes]) -> Iterator[Items]:
        """Yield what the first range has found, and of the next ones where it is done."""
        while self._ranges:
            first = self._ranges[0]
            found, first.pages = first.pages, []
            for place, size in found:
                file.seek(place)
                yield pickle.loads(file.read(size))  # noqa: S301  # as above
            if not first.is_done:
                return
            self._ranges.pop(0)

    def _cut(self, one: _Range, first: str, last: str) -> None:
        """Cut what is left of a range, while workers are idle: where folders begin, else at the next characters."""
        idle = self._listers - sum(not other.is_done for other in self._ranges)
        is_dear = self._in_vain > _IN_VAIN + self._pages // 4
        if self._pages < _SMALL or idle < max(1, self._listers // 4) or is_dear or not self._may_cut:
            return
        folders = self._folders(first, last, one.end)
        if folders is None:
            self._may_cut = False
            return
        points = sorted(_spread(folders, idle) or _characters(self._prefix, first, last, one.end, idle))
        if not points:
            return
        ends = [*points[1:], one.end]
        pieces = [_Range(point, end, Question(_before(point))) for point, end in zip(points, ends, strict=True)]
        at = self._ranges.index(one)
        self._ranges[at + 1 : at + 1] = pieces
        one.end = points[0]

    def _folder(self, key: str) -> str:
        """Return the folder directly below the prefix that a key lies in; of one that lies in none the key itself."""
        return key[len(self._prefix) :].partition("/")[0]

    def _folders(self, first: str, last: str, end: str) -> list[str] | None:
        """Return the folders directly below the prefix that begin after `last`; fewer than two are no help.

        None where the service takes no notice of where to start: it can be listed page by page alone.
        """
        if self._knows_starts and self._folder(first) != self._folder(last):
            return []  # folders so small that a page holds several are no place to cut
        self._in_vain += 1
        page = self._ask(Question(last, folders=True))
        self._knows_starts = True
        found = [*page.folders, *(item["Key"] for item in page.items)]
        if last in found or not all(name > last or last.startswith(name) for name in found):
            return None
        folders = [folder for folder in page.folders if last < folder < end]
        return folders if len(folders) > 1 else []


def _characters(prefix: str, first: str, last: str, end: str, count: int) -> list[str]:
    """Return up to `count` places after `last` where keys with another character would begin, near ones and far ones.

    Where a page goes from `in/0400` to `in/0417`, these are some of `in/042`, `in/043`, …, `in/05`, `in/06`, …, `in/1`,
    `in/2`, …; a piece that holds nothing costs one request, so the far ones, which may not exist, are few.
    """
    points: list[str] = []
    differs = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), 0)
    for place in range(differs, len(prefix) - 1, -1):
        if place >= len(last) or len(points) >= count:
            continue
        alphabet = next((some for some in _ALPHABETS if last[place] in some), "")
        greater = [point for other in alphabet if other > last[place] and (point := last[:place] + other) < end]
        points += _spread(greater, max(1, count // _LEVELS))
    return points[:count]


def _before(point: str) -> str:
    """Return a key that sorts before `point`, and no key of any use lies between: S3 lists what follows a key."""
    code = ord(point[-1]) - 1
    surrogates = range(0xD800, 0xE000)
    return point[:-1] + chr(surrogates.start - 1 if code in surrogates else code) + _END


def _spread(points: list[str], count: int) -> list[str]:
    """Return `count` of the points at equal distances, or all of them where they are fewer."""
    if len(points) <= count:
        return points
    return [points[place * len(points) // count] for place in range(count)]
