"""A group's archive without what goes: a zip (`<group>.fsz`) written again from the members that are left.

Each member keeps its name, time, mode, compression and place, so the same archive and the same images that go give the
same bytes.
"""

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from store.errors import LocationError

SUFFIX = ".fsz"
MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20

Goes = Callable[[str], bool | None]
"""From a member's name to whether it goes; None where the name means no file of the tree."""


@dataclass(frozen=True)
class Archive:
    """A zip, and how to tell what in it goes.

    `contents` gives size and CRC-32 of the files that go: a member under a name of its own is known by them. `prune`
    makes of a manifest what it is to be.
    """

    path: Path
    goes: Goes
    contents: Callable[[], Collection[tuple[int, int]]]
    prune: Callable[[bytes], bytes]

    def is_touched(self) -> bool:
        """Whether something in it goes, or is named by a manifest in it."""
        with self._opened() as archive:
            members = archive.infolist()
            pruned = (self.prune(data) != data for data in map(archive.read, filter(_is_manifest, members)))
            return any(self._is_gone(member) for member in members) or any(pruned)

    def write_pruned(self, to: BinaryIO) -> None:
        """Write it again without what goes."""
        with self._opened() as archive, zipfile.ZipFile(to, "w") as target:
            target.comment = archive.comment
            for member in archive.infolist():
                if not self._is_gone(member):
                    data = archive.read(member)
                    new = self.prune(data) if _is_manifest(member) else data
                    target.writestr(_like(member), new, member.compress_type)

    def _is_gone(self, member: zipfile.ZipInfo) -> bool:
        if member.is_dir() or _is_manifest(member):
            return False
        by_name = self.goes(member.filename)
        return (member.file_size, member.CRC) in self.contents() if by_name is None else by_name

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
            raise LocationError(
                f"{self.path} is no zip that can be read ({error}).",
                "It may hold images that are to go, so nothing is moved.",
                "Mend it, or put it elsewhere.",
            ) from error


def content_of(path: Path) -> tuple[int, int]:
    """Return size and CRC-32 of a file, as a zip states them."""
    size, crc = 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _is_manifest(member: zipfile.ZipInfo) -> bool:
    return posixpath.basename(member.filename) == MANIFEST


def _like(member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Return the header of a new member that says the same of itself."""
    header = zipfile.ZipInfo(member.filename, member.date_time)
    for name in ("compress_type", "comment", "external_attr", "internal_attr", "create_system"):
        setattr(header, name, getattr(member, name))
    return header
