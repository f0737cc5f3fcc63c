"""Where the image tower runs and in which precision: the best of this machine, or what the user asked for."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from embed.encoders.torchvision_shim import import_torch
from embed.notes import note
from store.errors import ClipsieveError, UsageError

if TYPE_CHECKING:
    from torch import device as Device  # noqa: N812 - a class, whatever its case
    from torch import dtype as DType  # noqa: N812 - as above

NVIDIA = Path("/dev/nvidiactl")
"""There where the driver is loaded, in a container too."""

PRECISIONS = ("fp32", "bf16", "fp16")


def choose_device(wanted: str) -> "Device":
    """Return the torch.device for `auto` (CUDA, then MPS, then CPU) or for a device's own name.

    Raises UsageError where this machine has no such device.
    """
    torch = import_torch()
    if wanted == "auto":
        wanted = next((name for name, has in _accelerators().items() if has()), "cpu")
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
        if wanted == "cpu" and not hidden and NVIDIA.exists():
            _note_unused_gpu()
    try:
        device: Device = torch.device(wanted)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _no_device(wanted, error) from error
    if str(device) == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    return device


@contextmanager
def memory_of(device: "Device") -> Iterator[None]:
    """Raise ClipsieveError where the device has too little memory for the work inside."""
    try:
        yield
    except import_torch().OutOfMemoryError as error:
        said = str(error).partition(" Of the allocated memory")[0].strip()
        raise ClipsieveError(
            f"The memory of {device} is full: {said}",
            "What was in hand is still pending; everything else is in the store.",
            "Run it again with a smaller --batch-size, with fewer --processes, or with nothing else on this device.",
        ) from error


def visible_gpus() -> list[str]:
    """Return how CUDA_VISIBLE_DEVICES names each GPU that this process sees; no GPU is touched."""
    count = import_torch().cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [name.strip() for name in named[:count]] if named != [""] else [str(number) for number in range(count)]


def visible_gpu_bytes() -> list[int | None]:
    """Return the memory of each GPU that this process sees; None where CUDA does not tell it."""
    cuda = import_torch().cuda
    found: list[int | None] = []
    for number in range(cuda.device_count()):
        try:
            found.append(int(cuda.get_device_properties(number).total_memory))
        except (RuntimeError, AssertionError):  # in a mode that lets nobody else in, or a driver that does not fit
            found.append(None)
    return found


def choose_precision(wanted: str, device: "Device") -> str:
    """Return `fp32`, `bf16` or `fp16`; `auto` is the fastest one that loses nothing worth having on this device.

    Raises UsageError for an unknown name, or a precision in which this device cannot multiply.
    """
    if wanted == "auto":
        return _best_precision(device)
    if wanted not in PRECISIONS:
        raise UsageError(f"There is no precision {wanted!r}.", do=f"Choose from: auto, {', '.join(PRECISIONS)}.")
    if not _usable(wanted, device):
        raise UsageError(f"{wanted} cannot be used on {device}.", do="Leave out --precision, or choose fp32.")
    return wanted


def nearest_precision(wanted: str, device: "Device") -> str:
    """Return `wanted` where this device multiplies in it as fast as it can, else fp32, which rounds least."""
    return wanted if wanted == _best_precision(device) else "fp32"


def dtype_of(precision: str) -> "DType":
    """Return torch's dtype for one of PRECISIONS."""
    torch = import_torch()
    dtypes: dict[str, DType] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return dtypes[precision]


def device_label(device: "Device") -> str:
    """Return the device with what a person would ask next: `cuda:0 (NVIDIA H200)`, `cpu (2 threads)`."""
    torch = import_torch()
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


@cache
def _note_unused_gpu() -> None:
    """Say it once: torch falls back to the CPU without a word, while the GPU is paid for."""
    torch = import_torch()
    built = torch.version.cuda
    why = f"is built for CUDA {built}, for which its driver may be too old" if built else "is built without CUDA"
    note(f"This machine has an NVIDIA GPU, but torch {torch.__version__} {why}: the work is done on the CPU.")


def _no_device(wanted: str, error: Exception) -> UsageError:
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if "busy" in said or "out of memory" in said:  # cudaErrorDevicesUnavailable, cudaErrorMemoryAllocation
        return UsageError(
            f"The device {wanted!r} takes nobody else in ({said}).",
            "Other processes hold all of its memory, or it is in a mode that lets in only one.",
            "End those, or use --processes 1.",
        )
    return UsageError(
        f"There is no device {wanted!r} here.",
        f"This machine has: {', '.join(['cpu', *(name for name, has in _accelerators().items() if has())])} ({said}).",
        "Leave out --device to use the fastest.",
    )


def _accelerators() -> dict[str, Callable[[], bool]]:
    torch = import_torch()
    return {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}


def _best_precision(device: "Device") -> str:
    torch = import_torch()
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Return True where the CPU has bfloat16 products of its own: elsewhere they take minutes instead of seconds."""
    torch = import_torch()
    read = getattr(torch.cpu, "get_capabilities", None)  # absent from older versions of torch
    capabilities = read() if read else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _usable(precision: str, device: "Device") -> bool:
    if precision == "fp16" and device.type == "cpu":
        return False  # it runs, and is slower than fp32 without being better
    torch = import_torch()
    try:
        square = torch.ones(8, 8, dtype=dtype_of(precision), device=device)
        return bool((square @ square).sum().item() == 8**3)
    except (RuntimeError, TypeError):
        return False
