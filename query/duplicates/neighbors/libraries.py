"""FAISS, imported late and never beside torch, and numerical libraries held to one thread for each thread of ours."""

import importlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from store.cores import cores
from store.errors import UsageError


def load_faiss() -> Any:  # noqa: ANN401  # a module without types
    """Return the module; raise UsageError where torch is loaded, whose OpenMP runtime FAISS must not meet."""
    if "torch" in sys.modules:
        raise UsageError(
            "torch is loaded in this process, and FAISS beside it can crash or stall: each brings its own OpenMP.",
            do="Run `clipsieve neighbors STORE`, which is a process of its own, or restart this one.",
        )
    return importlib.import_module("faiss")


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Give one thread for each core, in which BLAS and FAISS start no threads of their own.

    BLAS with threads of its own, called from several threads, waits by spinning: on two busy cores the same work took
    three times the CPU.
    """
    one_thread = load_faiss().omp_set_num_threads
    pool = ThreadPoolExecutor(cores(), "compare", initializer=one_thread, initargs=(1,))
    try:
        with threadpool_limits(1):
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)  # where it is interrupted, nobody waits for what was to be done next
