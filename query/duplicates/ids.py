"""Columns of image ids as numbers, and back: (N, 16) uint8, the bytes of each UUID."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ids = npt.NDArray[np.uint8]


def ids_of(column: pa.ChunkedArray) -> Ids:
    """Return a UUID column without nulls; asked of its buffers, since `take` would load pyarrow's compute library."""
    chunks = [
        np.frombuffer(chunk.storage.buffers()[1], np.uint8, 16 * len(chunk), 16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate([*chunks, np.empty(0, np.uint8)]).reshape(-1, 16)


def take(ids: Ids, places: npt.NDArray[np.integer]) -> pa.Array:
    """Return the ids at these places as a UUID column; 16 bytes are one thing here, which is six times as fast."""
    found = ids.view("V16").ravel()[places]
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(found), [None, pa.py_buffer(found.tobytes())])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)
