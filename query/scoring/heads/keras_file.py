"""Arrays of a zipped Keras SavedModel, without TensorFlow.

Its variables lie in a "tensor bundle": `variables.index`, a sorted table from names to places, and one file of bytes.
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto says what an entry is,
https://github.com/google/leveldb/blob/main/doc/table_format.md how the table is laid out.
"""

import re
import struct
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from query.scoring.heads.layers import NotAHead

_INDEX = "variables/variables.index"
_DATA = "variables/variables.data-00000-of-00001"
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how protobuf writes a field
_DT_FLOAT = 1
_VARIABLE = re.compile(r"layer_with_weights-(\d+)/(mean|variance|kernel|bias)/\.ATTRIBUTES/VARIABLE_VALUE")
# An optimizer keeps variables of its own below these names; they do not match.


def is_keras_file(names: Sequence[str]) -> bool:
    """Return whether a zip of these names is a SavedModel."""
    return any(name.endswith(_INDEX) for name in names)


def keras_arrays(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[Any]]:
    """Return mean, variance and the dense layers of a sequential model, weights as (out, in)."""
    (index,) = (name for name in archive.namelist() if name.endswith(_INDEX))
    table = archive.read(index)
    data = archive.read(index.removesuffix(_INDEX) + _DATA)
    arrays = {}
    for key, entry in _entries(table):
        if match := _VARIABLE.fullmatch(key.decode()):
            array = _array(entry, data)
            number, name = match.groups()
            if name in {"mean", "variance"}:
                arrays[name] = array
            else:
                arrays[f"{number}.{'weight' if name == 'kernel' else name}"] = array.T
    return arrays


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield every key of a sorted table with its value."""
    footer = table[-_FOOTER_BYTES:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise NotAHead("the index of its variables is damaged")
    _, at = _handle(footer, 0)
    (offset, size), _ = _handle(footer, at)
    for _, handle in _block(table, offset, size):
        yield from _block(table, *_handle(handle, 0)[0])


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block, whose keys share their beginnings with the key before."""
    if table[offset + size] != 0:
        raise NotAHead("the index of its variables is compressed")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    at, end, key = 0, size - 4 * (restarts + 1), b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's offset and size, and where the next thing begins."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _array(entry: bytes, data: bytes) -> npt.NDArray[Any]:
    """Return the array that a BundleEntryProto describes: 1 dtype, 2 shape, 3 shard, 4 offset, 5 size."""
    found = dict(_fields(entry))
    if found.get(1) != _DT_FLOAT or found.get(3, 0) != 0:
        raise NotAHead("a variable in it is no float32")
    shape = [dict(_fields(dim)).get(1, 0) for number, dim in _fields(found.get(2, b"")) if number == 2]  # noqa: PLR2004  # TensorShapeProto.dim
    offset = found.get(4, 0)
    return np.frombuffer(data[offset : offset + found.get(5, 0)], "<f4").reshape(shape)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field of a protobuf message: https://protobuf.dev/programming-guides/encoding/."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                value, at = _varint(message, at)
                yield tag >> 3, value
            case 2:
                size, at = _varint(message, at)
                yield tag >> 3, message[at : at + size]
                at += size
            case 1 | 5 as kind:
                at += 8 if kind == 1 else 4
            case _:
                raise NotAHead("an entry of its variables is damaged")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, the lowest first, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004  # the last byte has no high bit
            return value, at
