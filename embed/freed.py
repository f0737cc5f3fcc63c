"""Memory that was freed, given back to the system, so that a job of days holds no more than one of minutes."""

import ctypes
from collections.abc import Callable
from functools import cache

import pyarrow as pa


def give_back_freed_memory() -> None:
    """Let malloc and Arrow return what nobody uses.

    A part's rows are many small pieces, and malloc by itself keeps the pages that they leave as long as a single piece
    after them is in use: a little more with every part. https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    pa.default_memory_pool().release_unused()
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function; other C libraries have none."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows
        return None
    return trim
