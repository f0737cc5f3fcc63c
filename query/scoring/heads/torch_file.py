"""Arrays of a torch checkpoint (`.pth`, torch's zip format), without torch and without running what the file says.

A checkpoint is a zip: `data.pkl`, a pickle of the state dict, and `data/<key>`, the bytes of each storage; see
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py. A pickle may name any function to be called. This
unpickler knows three names, all of them defined here or harmless, and refuses every other.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from query.scoring.heads.layers import NotAHead

_FLOAT_STORAGE = "torch.FloatStorage"


def is_torch_file(names: Sequence[str]) -> bool:
    """Return whether a zip of these names is a torch checkpoint."""
    return any(name.endswith("/data.pkl") for name in names)


def torch_arrays(archive: zipfile.ZipFile) -> dict[str, npt.NDArray[Any]]:
    """Return the named float32 tensors of a checkpoint; raise NotAHead for one that holds anything else."""
    (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    root = pickled.removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise NotAHead("it was written on a big-endian machine")
    found = _Restricted(io.BytesIO(archive.read(pickled)), archive, root).load()
    if not isinstance(found, dict) or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise NotAHead("it is no torch state dict of float32 tensors")
    return dict(found)


class _Restricted(pickle.Unpickler):
    def __init__(self, pickled: io.BytesIO, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(pickled)
        self._archive, self._root = archive, root

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  # pickle's signature
        known: Mapping[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            _FLOAT_STORAGE: _FLOAT_STORAGE,
        }
        if f"{module}.{name}" not in known:
            raise NotAHead(f"it asks for {module}.{name}, which weights have no need of")
        return known[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:  # noqa: ANN401  # pickle's signature
        kind, storage, key, _device, _count = pid
        if (kind, storage) != ("storage", _FLOAT_STORAGE):
            raise NotAHead("it holds something else than float32 tensors")
        return np.frombuffer(self._archive.read(f"{self._root}data/{key}"), "<f4")


def _tensor(
    storage: npt.NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> npt.NDArray[Any]:
    """Return the view of a storage that a tensor is; its numbers come from a file, so they are checked."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride) < 0 or last >= len(storage) or math.prod(size) > len(storage):
        raise NotAHead("a tensor in it lies outside its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()
