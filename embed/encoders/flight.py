"""A batch's way to the device and back: on CUDA the next one leaves before the last one has returned."""

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from embed.encoders.torchvision_shim import import_torch
from store.errors import WeightsUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever its case
    from torch import dtype as DType  # noqa: N812 - as above


class _Mark(Protocol):
    """A point in the device's work: `torch.cuda.Event`, or `_HostMark` where work is done when a call returns."""

    def query(self) -> bool:
        """Whether the device has come to it."""

    def synchronize(self) -> None:
        """Wait until it has."""

    def elapsed_time(self, end_event: Any, /) -> float:  # noqa: ANN401  # a mark of the same kind
        """Return the milliseconds from here to a later mark."""


class _HostMark:
    def __init__(self) -> None:
        self.at_s = time.perf_counter()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end_event: Any, /) -> float:  # noqa: ANN401  # as above
        return float(end_event.at_s - self.at_s) * 1000


class Pending:
    """The vectors of one batch, which the device may still be working at."""

    def __init__(self, vectors: "Tensor", left: _Mark, back: _Mark) -> None:
        """Take (B, D) float16 in host memory, not to be looked at before `back`."""
        self._vectors, self._left, self._back = vectors, left, back

    @property
    def is_back(self) -> bool:
        """Whether `result` would return at once."""
        return self._back.query()

    def result(self) -> "NDArray[np.float16]":
        """Wait for the vectors and return them; raise WeightsUnavailable where they are not finite numbers.

        They are a copy: rows keep them for a minute, and the room that they came in serves the next batches.
        """
        self._back.synchronize()
        vectors: NDArray[np.float16] = self._vectors.numpy().copy()
        if not np.isfinite(vectors).all():
            raise WeightsUnavailable(
                "The image tower answered with numbers that are not finite.",
                "Its weights are damaged, or too large for this precision.",
                "Try again with --precision fp32.",
            )
        return vectors

    @property
    def device_s(self) -> float:
        """Seconds from the batch's first copy to its last, without those for which it waited behind another batch."""
        self._back.synchronize()
        return self._left.elapsed_time(self._back) / 1000


class Road:
    """Copies to a device and back. On CUDA both ends are pinned and nothing waits: the stream keeps the order.

    torch keeps pinned memory from being used again before the copies that were asked of it are done.
    https://docs.pytorch.org/tutorials/intermediate/pinmem_nonblock.html
    """

    def __init__(self, device: "Device") -> None:
        """Go to `device`; only CUDA works behind the caller's back."""
        self._device, self._overlaps = device, device.type == "cuda"

    def room(self, shape: tuple[int, ...], dtype: "DType") -> "Tensor":
        """Return host memory that the device can copy from and to."""
        room: Tensor = import_torch().empty(shape, dtype=dtype, pin_memory=self._overlaps)
        return room

    def send(self, pixels: "Tensor", work: "Callable[[Tensor], Tensor]", count: int) -> Pending:
        """Let `work` turn pixels, which lie in a `room`, into vectors, both on the device; the first `count` return."""
        left = self._mark()
        found = work(pixels.to(self._device, non_blocking=self._overlaps))[:count]
        vectors = self.room(tuple(found.shape), found.dtype)
        vectors.copy_(found, non_blocking=self._overlaps)
        return Pending(vectors, left, self._mark())

    def _mark(self) -> _Mark:
        """Mark this point of the device's work. Whoever waits for it sleeps: the core is the decoders'."""
        if not self._overlaps:
            return _HostMark()
        torch = import_torch()
        event = torch.cuda.Event(enable_timing=True, blocking=True)
        event.record(torch.cuda.current_stream(self._device))
        mark: _Mark = event
        return mark
