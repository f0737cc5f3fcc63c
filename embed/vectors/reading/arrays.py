"""(N, D) vectors in a file, read block by block, so that a hundred million rows take no more memory than one block.

The formats: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html; `.npz` is a ZIP archive of `.npy`
files. Pickled arrays are refused: to load one is to run its code.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import numpy.typing as npt

from store.errors import ImportRefused, UnknownName, UsageError

Matrix = npt.NDArray[np.float32]

SUFFIXES = (".npy", ".npz", ".bin")
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What zipfile and NumPy's readers raise for a file that is cut off, damaged, or something else.
_UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


class Reader(Protocol):
    """Gives the next rows of a file."""

    def __call__(self, rows: int) -> Matrix:
        """Return the next (rows, D) float32."""


@dataclass(frozen=True)
class VectorFile:
    """An (N, D) array of floats, whose header has been read and whose size is what the header says."""

    path: Path
    array: str | None  # its name in an .npz
    rows: int
    dim: int
    dtype: np.dtype[np.floating]
    fortran: bool
    offset: int  # bytes before the first row, in its own file

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"{self.path.name}[{self.array}]" if self.array else self.path.name

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open it for reading from the first row to the last."""
        if self.array is None:
            yield _Mapped(self, _mapped(self))
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.array}.npy") as file:
            file.read(self.offset)
            yield _Mapped(self, _whole(self, file)) if self.fortran else _Streamed(self, file)


def open_vectors(path: Path, array: str | None = None, dim: int | None = None) -> VectorFile:
    """Read the header of a file of vectors; `array` names one of an .npz, `dim` is D of a raw .bin.

    Raise ImportRefused where it holds no (N, D) floats, or fewer bytes than its header says.
    """
    try:
        if path.suffix == ".bin":
            return _raw(path, dim)
        if array is None:
            with path.open("rb") as file:
                found = _described(path, None, file)
            return _complete(found, path.stat().st_size)
        with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as file:
            found = _described(path, array, file)
            return _complete(found, archive.getinfo(f"{array}.npy").file_size)
    except KeyError:
        raise UnknownName(
            f"{path.name} has no array {array!r}.", do=f"It holds: {', '.join(array_names(path))}. Choose with --array."
        ) from None
    except _UNREADABLE as error:
        raise unreadable(path, error) from error


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except _UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ImportRefused:
    """Return the error for a file that cannot be read as what it should be."""
    return ImportRefused(
        f"{path} cannot be read ({' '.join(str(error).split())[:200] or type(error).__name__}).",
        "It may have been cut off on its way.",
        "Compare its size with the original's and copy it again. Nothing was imported.",
    )


def _described(path: Path, array: str | None, file: IO[bytes]) -> VectorFile:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the .npy format is for records, not for vectors")
    shape, fortran, dtype = _HEADERS[version](file)
    name = f"{path.name}[{array}]" if array else path.name
    if dtype.kind != "f":
        kind = "Python objects (a pickle, which could run code)" if dtype.hasobject else str(dtype)
        raise ImportRefused(
            f"{name} holds {kind}, not floats.",
            do="Save it again as an array of float16 or float32, one row per image.",
        )
    if len(shape) != 2 or not shape[1]:  # noqa: PLR2004  # rows and columns
        raise ImportRefused(
            f"{name} has the shape {shape}.", do="Vectors are rows of one matrix: (N, D), one row per image."
        )
    return VectorFile(path, array, shape[0], shape[1], dtype, fortran, file.tell())


def _raw(path: Path, dim: int | None) -> VectorFile:
    if dim is None:
        raise UsageError(f"{path.name} is raw float32 and does not say its dimension.", do="Give it with --dim.")
    dtype = np.dtype("<f4")
    rows, rest = divmod(path.stat().st_size, dtype.itemsize * dim)
    if rest:
        raise ImportRefused(
            f"{path.name} has {path.stat().st_size:,} bytes, which are no whole number of rows of {dim} float32.",
            "Either the dimension is another, or the file was cut off.",
            f"A row has {dtype.itemsize * dim:,} bytes; check --dim and the file's size.",
        )
    return VectorFile(path, None, rows, dim, dtype, fortran=False, offset=0)


def _complete(found: VectorFile, size_bytes: int) -> VectorFile:
    """Return it, or raise where the file has another size than its header says."""
    needed = found.offset + found.rows * found.dim * found.dtype.itemsize
    if size_bytes < needed:
        raise ImportRefused(
            f"{found.name} has {size_bytes:,} bytes; {found.rows:,} x {found.dim} of {found.dtype} need {needed:,}.",
            "It was cut off on its way.",
            "Copy it again. Nothing was imported.",
        )
    return found


def _mapped(found: VectorFile) -> npt.NDArray[np.floating]:
    if not found.rows:  # an empty file cannot be mapped
        return np.empty((0, found.dim), found.dtype)
    shape = (found.rows, found.dim)
    try:
        return np.memmap(found.path, found.dtype, "r", found.offset, shape, "F" if found.fortran else "C")
    except _UNREADABLE as error:
        raise unreadable(found.path, error) from error


def _whole(found: VectorFile, file: IO[bytes]) -> npt.NDArray[np.floating]:
    """Return an array that lies in an archive column by column, of which no block of rows can be read by itself."""
    flat = np.frombuffer(_bytes(found, file, found.rows), found.dtype)
    return flat.reshape((found.rows, found.dim), order="F")


def _bytes(found: VectorFile, file: IO[bytes], rows: int) -> bytes:
    wanted = rows * found.dim * found.dtype.itemsize
    try:
        data = file.read(wanted)
    except _UNREADABLE as error:
        raise unreadable(found.path, error) from error
    if len(data) != wanted:
        raise unreadable(found.path, EOFError(f"{found.name} ends too early"))
    return data


@dataclass
class _Mapped:
    """Reads rows of an array that is mapped into memory, or lies in it."""

    found: VectorFile
    array: npt.NDArray[np.floating]
    at: int = 0

    def __call__(self, rows: int) -> Matrix:
        block = self.array[self.at : self.at + rows]
        self.at += rows
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            return np.array(block, np.float32, order="C")


@dataclass
class _Streamed:
    """Reads rows of an array in an archive, unpacking no more than is asked for."""

    found: VectorFile
    file: IO[bytes]

    def __call__(self, rows: int) -> Matrix:
        block = np.frombuffer(_bytes(self.found, self.file, rows), self.found.dtype)
        with np.errstate(over="ignore"):  # as above
            return block.reshape(rows, self.found.dim).astype(np.float32)
