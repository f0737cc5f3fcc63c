"""Weights of a head from a file, whoever wrote it: `.npz`, `.npy`, torch's `.pth`, or a zipped Keras SavedModel."""

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from query.scoring.heads.keras_file import is_keras_file, keras_arrays
from query.scoring.heads.layers import Layers, NotAHead, layers_of
from query.scoring.heads.torch_file import is_torch_file, torch_arrays
from store.errors import UsageError

LARGEST_BYTES = 1 << 26
"""No head is larger, unpacked; a file that claims to be is not read into memory."""

_NUMPY = b"\x93NUMPY"
_ZIP = b"PK"
# What the readers meet in a file that is not what it looks like.
_UNREADABLE = (
    *(ValueError, TypeError, LookupError, EOFError, AttributeError, ArithmeticError, SyntaxError),
    *(MemoryError, RuntimeError, OSError, struct.error, zlib.error, pickle.UnpicklingError, zipfile.BadZipFile),
)


def read_head(path: Path) -> Layers:
    """Return the head in a file; raise UsageError where it cannot be read or holds none."""
    try:
        with path.open("rb") as file:
            return parse_head(file.read(LARGEST_BYTES + 1))
    except NotAHead as error:
        raise UsageError(f"{path} holds no weights of a head: {error}.") from error
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error


def parse_head(data: bytes) -> Layers:
    """Return the head in the bytes of a file; raise NotAHead, with the reason as part of a sentence."""
    if len(data) > LARGEST_BYTES:
        raise NotAHead("it is too large for one")
    try:
        return layers_of(_arrays(data))
    except NotAHead:
        raise
    except _UNREADABLE as error:
        raise NotAHead("it is damaged, or of another kind than its first bytes say") from error


def _arrays(data: bytes) -> dict[str, npt.NDArray[Any]]:
    if data.startswith(_NUMPY):
        return {"weight": np.load(io.BytesIO(data), allow_pickle=False)}
    if not data.startswith(_ZIP):
        raise NotAHead("it is neither .npz, .npy, .pth nor a zipped Keras model")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
            raise NotAHead("it is too large for one")
        names = archive.namelist()
        if is_torch_file(names):
            return torch_arrays(archive)
        if is_keras_file(names):
            return keras_arrays(archive)
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)
