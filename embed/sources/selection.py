"""A part of a source: by patterns, its first objects, or a sample that a seed decides."""

import fnmatch
import hashlib
import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote

from embed.sources.folder import PAGE_OBJECTS
from embed.sources.read import Fetched, Source
from embed.sources.tar_uris import member_of
from store.errors import SourceError, UsageError
from store.records import SourceObject


@dataclass(frozen=True)
class Selection:
    """Which objects of a source are wanted; every one by default.

    An object is wanted where it matches any of `include` (all do where there is none) and none of `exclude`. Of these,
    `limit` takes the first in the order of the listing, `sample` that many at random: the same seed, the same images.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.limit is not None and self.sample is not None:
            raise UsageError(
                "--limit and --sample both say how many images to take.", do="Give one of them; --sample is the fairer."
            )

    @property
    def is_everything(self) -> bool:
        """Whether no object is left out."""
        return not (self.include or self.exclude) and self.limit is None and self.sample is None

    def matches(self, name: str) -> bool:
        """Whether the patterns want an object of this name; what is excluded stays so, whatever includes it."""
        included = not self.include or _any(self.include).match(name) is not None
        return included and not (self.exclude and _any(self.exclude).match(name))

    def choose(self, objects: Iterator[SourceObject], folder: str) -> Iterator[SourceObject]:
        """Return the wanted ones of the objects that a source lists, in its order; names are told from `folder`."""
        matching = (one for one in objects if self.matches(name_below(folder, one.uri)))
        if self.sample is not None:
            return iter(sampled(matching, self.sample, self.seed))
        return islice(matching, self.limit)

    def covers(self, folder: str) -> Callable[[str], bool] | None:
        """Return which objects a listing of this selection would have found, were they there; None where every one.

        A limit and a sample say nothing about what they leave out; patterns say everything about what they match.
        """
        if self.is_everything:
            return None
        if self.limit is not None or self.sample is not None:
            return lambda _uri: False
        return lambda uri: self.matches(name_below(folder, uri))


def selected(source: Source, selection: Selection) -> Source:
    """Return what is wanted of a source."""
    return source if selection.is_everything else Selected(source, selection)


class Selected:
    """The wanted objects of a source, in its own order."""

    extra_columns = None

    def __init__(self, source: Source, selection: Selection) -> None:
        """Take what is wanted of `source`."""
        self.source, self.selection, self._folder = source, selection, base(source.uri)
        self.uri, self.readers = source.uri, source.readers
        self.covers = selection.covers(self._folder)

    def pages(self) -> Iterator[list[SourceObject]]:
        """Yield the wanted objects; raise SourceError where the source holds some and none of them is wanted."""
        seen = 0

        def counted() -> Iterator[SourceObject]:
            nonlocal seen
            for page in self.source.pages():
                seen += len(page)
                yield from page

        chosen, found = self.selection.choose(counted(), self._folder), 0
        while page := list(islice(chosen, PAGE_OBJECTS)):
            found += len(page)
            yield page
        if seen and not found:
            raise SourceError(
                f"Of the {seen:,} objects of {self.uri} none is wanted.",
                f"Patterns are matched against what follows {self._folder}, and * stands for slashes too.",
                "Check --include, --exclude and the numbers: '*.jpg' means every name that ends in .jpg.",
            )

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object."""
        return self.source.fetch(wanted)


def sampled(objects: Iterator[SourceObject], count: int, seed: int) -> list[SourceObject]:
    """Return `count` objects, each set of that size as likely as any other, in their order.

    Those whose URIs have the lowest hash with the seed: the choice depends on nothing else, neither on the order of the
    listing nor on the rest of it, so an image in the sample stays in it until one with a lower hash appears.
    """
    if count <= 0:
        return []
    lowest: list[tuple[int, int, SourceObject]] = []  # a heap with the highest hash of the lowest first
    for place, one in enumerate(objects):
        digest = hashlib.blake2b(one.uri.encode(), digest_size=8, key=str(seed).encode()[:64]).digest()
        entry = (-int.from_bytes(digest), -place, one)
        if len(lowest) < count:
            heapq.heappush(lowest, entry)
        elif entry[:2] > lowest[0][:2]:
            heapq.heapreplace(lowest, entry)
    return [one for _hash, _place, one in sorted(lowest, key=lambda entry: -entry[1])]


def base(source_uri: str) -> str:
    """Return the folder that names are told from: of `s3://b/in/` itself, of `s3://b/in/*.tar` `s3://b/in/`."""
    if source_uri.endswith("/"):
        return source_uri  # a folder may be called `[raw]`
    return source_uri[: len(re.split(r"[*?{\[]", source_uri)[0].rpartition("/")[0]) + 1]


def name_below(folder: str, uri: str) -> str:
    """Return what patterns are matched against: the path below the folder, or a URI as it is that lies elsewhere."""
    tar, member = member_of(uri)
    below = tar.removeprefix(folder)
    name = unquote(below) if tar.startswith("file://") else below
    return name if member is None else f"{name}/{member}"


@lru_cache(8)
def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one regular expression for several globs, in which * stands for slashes too."""
    return re.compile("|".join(map(fnmatch.translate, patterns)))
