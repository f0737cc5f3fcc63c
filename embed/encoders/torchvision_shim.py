"""The only door to torch, open_clip and transformers: they load late, quietly, and with torchvision's fault mended."""

import importlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from embed.encoders.late import loaded_late
from store.errors import MissingExtra

_LOCK = threading.RLock()
_DECLARED: dict[str, Any] = {}  # operator -> its Library; one that is collected takes its operators along
_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_SIGNATURES = {"nms": f"nms{_BOXES}", "qnms": f"qnms{_BOXES}"}


@cache
def import_torch() -> ModuleType:
    """Return torch; raise MissingExtra where it is not installed."""
    with _LOCK, quiet():
        return _import("torch")


def wait_passively() -> None:
    """Let torch's threads sleep at their barriers, unless the user says otherwise; call it before anybody loads torch.

    libgomp lets a thread that waits for the others spin on its core for a while. Beside processes that decode, that
    core is theirs: on two of them a fifth of a job's CPU seconds went so. It reads the variable when it is loaded and
    never again; GOMP_SPINCOUNT, should the user have set that, weighs more.
    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def import_open_clip() -> ModuleType:
    """Return open_clip with a torchvision that loads; raise MissingExtra where one of them is not installed."""
    torch = import_torch()
    with _LOCK, quiet(), loaded_late("timm", "transformers"):
        _import_torchvision(torch)
        return _import("open_clip")


@cache
def import_decode_jpeg() -> Callable[..., Any] | None:
    """Return torchvision's JPEG decoder; None where its operators do not load beside this torch.

    https://docs.pytorch.org/vision/0.28/generated/torchvision.io.decode_jpeg.html; from 0.29 on it is deprecated in
    favour of torchcodec (https://github.com/pytorch/vision/pull/9609), whose pixels would be a mode of their own.
    """
    torch = import_torch()
    with _LOCK, quiet():
        _import_torchvision(torch)
        decode: Callable[..., Any] | None = getattr(_import("torchvision.io"), "decode_jpeg", None)
    return decode if hasattr(torch.ops.image, "decode_jpeg") else None


@cache
def import_transformers() -> ModuleType:
    """Return transformers with a torchvision that loads; raise MissingExtra where one of them is not installed."""
    torch = import_torch()
    with _LOCK, quiet():
        _import_torchvision(torch)
        return _import("transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep these libraries' warnings, and what they log through the root logger, off stderr.

    open_clip calls `logging.info(...)` on the root logger, which installs a handler there unless one exists.
    """
    root, placeholder = logging.getLogger(), logging.NullHandler()
    root.addHandler(placeholder)
    root.addFilter(_not_from_open_clip)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_from_open_clip)
        root.removeHandler(placeholder)


def _not_from_open_clip(record: logging.LogRecord) -> bool:
    return "open_clip" not in record.pathname


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{error.name} is not installed.",
            "Encoding images and texts needs torch and open_clip.",
            "Install them with: pip install 'clipsieve[embed]'",
        ) from error


def _import_torchvision(torch: ModuleType) -> None:
    """Import torchvision; where its compiled part does not match torch, declare the operators that it then misses.

    A CPU build of torch beside the registry's torchvision ends in `operator torchvision::nms does not exist`
    (https://github.com/pytorch/vision/issues/9077, https://github.com/pytorch/vision/issues/9085). A declared operator
    has no implementation; open_clip never calls it.
    """
    try:
        with loaded_late("torch._dynamo"):
            _import("torchvision")
    except RuntimeError as error:
        missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
        if missing is None or missing[1] not in _SIGNATURES or missing[1] in _DECLARED:
            raise
        _declare(torch, missing[1])
        _import_torchvision(torch)


def _declare(torch: ModuleType, operator: str) -> None:
    _DECLARED[operator] = torch.library.Library("torchvision", "FRAGMENT")
    _DECLARED[operator].define(_SIGNATURES[operator])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
