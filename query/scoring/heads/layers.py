"""The arrays of a head: an optional standardisation, then dense layers; the last one has a single output.

As a `.npz` they are `mean`, `variance` (both or neither), `dense0.weight`, `dense0.bias`, `dense1.weight`, …; a weight
is (out, in) float32 as torch keeps it. The forward pass is `h = (x - mean) / sqrt(variance)`, then
`h = h @ weight.T + bias` for each layer, with the head's activation between them.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_WEIGHT = re.compile(r"(?P<prefix>.*?)weight")


class NotAHead(ValueError):
    """What a file holds are no weights of a head; the message is part of a sentence that names the file."""


@dataclass(frozen=True, eq=False)
class Dense:
    """One layer: `h @ weight.T + bias`."""

    weight: Array  # (out, in)
    bias: Array  # (out,)


@dataclass(frozen=True, eq=False)
class Layers:
    """A head's arrays, checked: they fit together and are finite."""

    dense: tuple[Dense, ...]
    mean: Array | None = None  # (D,)
    variance: Array | None = None  # (D,), positive

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the widths from the embedding to the score."""
        return (self.dense[0].weight.shape[1], *(len(layer.bias) for layer in self.dense))

    @property
    def sha256(self) -> str:
        """Return the sha256 of the weights themselves: names, shapes and float32 bytes, whatever file holds them."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name}{list(array.shape)}".encode())
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()

    def arrays(self) -> dict[str, Array]:
        """Return the arrays under their documented names."""
        named = {"mean": self.mean, "variance": self.variance}
        for k, layer in enumerate(self.dense):
            named |= {f"dense{k}.weight": layer.weight, f"dense{k}.bias": layer.bias}
        return {name: array for name, array in named.items() if array is not None}

    def to_npz(self) -> bytes:
        """Return the documented `.npz`."""
        arrays: dict[str, Any] = self.arrays()
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()


def layers_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Layers:
    """Return the head that named arrays make; raise NotAHead.

    Layers are the arrays whose names end in `weight`, in the order of the numbers in their names, each with the `bias`
    beside it: so `weight`, `layers.2.weight`, `linear_1.weight` and `dense0.weight` are all understood, and `mean` and
    `variance` also under a prefix.
    """
    if not all(np.issubdtype(array.dtype, np.floating) for array in arrays.values()):
        raise NotAHead("an array in it holds no floats")
    prefixes = sorted((m["prefix"] for name in arrays if (m := _WEIGHT.fullmatch(name))), key=_numbers)
    if not prefixes:
        raise NotAHead(f"no array in it is called `weight` (there are: {', '.join(sorted(arrays)) or 'none'})")
    dense = tuple(_dense(arrays, prefix) for prefix in prefixes)
    head = Layers(dense, _standard(arrays, "mean"), _standard(arrays, "variance"))
    _check(head)
    return head


def linear(weight: npt.NDArray[Any], bias: float) -> Layers:
    """Return the head of one dot product; raise NotAHead."""
    return layers_of({"weight": weight, "bias": np.array([bias])})


def _dense(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Dense:
    weight = arrays[f"{prefix}weight"]
    weight = _float32(weight.reshape(1, -1) if weight.ndim == 1 else weight)
    bias = arrays.get(f"{prefix}bias", np.zeros(len(weight)))
    return Dense(weight, _float32(bias.reshape(-1)))


def _standard(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Array | None:
    found = [array for key, array in arrays.items() if key == name or key.endswith(f".{name}")]
    return _float32(found[0].reshape(-1)) if found else None


def _float32(array: npt.NDArray[Any]) -> Array:
    with np.errstate(over="ignore"):  # what does not fit is infinite then, and refused
        return np.ascontiguousarray(array, np.float32)


def _check(head: Layers) -> None:
    width = head.dense[0].weight.shape[-1]
    for array in (head.mean, head.variance):
        if array is not None and array.shape != (width,):
            raise NotAHead(f"mean and variance are not of the first layer's width, {width}")
    if (head.mean is None) != (head.variance is None):
        raise NotAHead("of mean and variance it holds only one")
    if head.variance is not None and not (head.variance > 0).all():
        raise NotAHead("a variance in it is not above 0")
    for layer in head.dense:
        if layer.weight.ndim != len(("out", "in")) or layer.weight.shape != (len(layer.bias), width):
            raise NotAHead(f"a layer of shape {layer.weight.shape} follows {width} values")
        width = len(layer.bias)
    if width != 1:
        raise NotAHead(f"it ends in {width} values, not in one score")
    if not all(np.isfinite(array).all() for array in head.arrays().values()):
        raise NotAHead("it holds a number that is not finite")


def _numbers(prefix: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", prefix)]
