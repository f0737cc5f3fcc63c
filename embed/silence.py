"""Quiet for the C libraries beneath Pillow, which print about every odd file as if it were the only one."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

_PILLOW_LOG = logging.getLogger("PIL")


@contextmanager
def native_output_silenced() -> Iterator[None]:
    """Discard what C code prints (libtiff, libjpeg, …) and Pillow's warnings and log, while Python's output goes on.

    The reasons that matter are in each image's row. Enter it once around a run, from one thread: file descriptors and
    warning filters belong to the whole process. Processes started meanwhile inherit the silence.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", module=r"PIL\.")
        stack.callback(_PILLOW_LOG.setLevel, _PILLOW_LOG.level)
        _PILLOW_LOG.setLevel(logging.CRITICAL + 1)
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stack.enter_context(_descriptor_silenced(number, stream))
        yield


@contextmanager
def _descriptor_silenced(number: int, stream: TextIO | None) -> Iterator[None]:
    """Point descriptor `number` to nowhere, and `stream`, where it writes there, to where the descriptor pointed."""
    raw = _raw_file(stream, number)
    if raw is None and _writes_to(stream, number):
        yield  # a stream of a kind unknown here: noise is better than its words lost
        return
    try:
        kept = os.dup(number)
    except OSError:  # the process was started with it closed
        yield
        return
    _point(stream, raw, kept)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, number)
        _point(stream, raw, number)
        os.close(kept)


def _raw_file(stream: TextIO | None, number: int) -> io.FileIO | None:
    """Return the unbuffered file beneath `stream` where it writes to descriptor `number`; captured ones do not."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED the buffer is the file itself
    return raw if isinstance(raw, io.FileIO) and _writes_to(raw, number) else None


def _writes_to(stream: TextIO | io.FileIO | None, number: int) -> bool:
    try:
        return stream is not None and stream.fileno() == number
    except (AttributeError, OSError, ValueError):  # no descriptor beneath it, or closed
        return False


def _point(stream: TextIO | None, raw: io.FileIO | None, number: int) -> None:
    """Let `stream` write to descriptor `number` from now on.

    The stream object stays the same one, because log handlers and progress bars hold on to it: a new object in
    `sys.stderr` would leave theirs writing to nowhere.
    """
    if stream is None or raw is None:
        return
    stream.flush()
    name = raw.name
    raw.__init__(number, "w", closefd=False)  # type: ignore[misc]
    raw.name = name
