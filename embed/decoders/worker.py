"""A process that decodes for a job, so that a file which crashes or hangs a decoder costs one image.

It holds Pillow and numpy, never torch. It ends with the job, however that ends: its input closes. One decode that takes
too long ends it by the kernel's alarm, whatever the decoder is doing.

    python -c "…; main(ARENA)"    tasks come on stdin, answers go to stdout, ARENA is a descriptor of shared memory
"""

import json
import mmap
import os
import resource
import signal
import sys
import traceback
from typing import IO

import numpy as np

from embed.decode import Refused
from embed.decoders.memory import UNASKED_BYTES
from embed.decoders.messages import Answer, Task, bytes_needed, over_memory, place_of_results
from embed.decoders.settings import Settings
from embed.decoders.work import make
from store.records import ImageFacts

_HEADROOM_BYTES = 512 << 20
"""What libraries may take beside the pixels, before the kernel refuses them more."""


def main(arena: int) -> None:
    """Serve until the input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the job, which closes the input
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    Worker(arena, sys.stdin.buffer, _private_stdout()).serve()


def _private_stdout() -> IO[bytes]:
    """Return where answers go, and let what C libraries print go nowhere."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return answers


class Worker:
    """Answers one task after the other."""

    def __init__(self, arena: int, tasks: IO[bytes], answers: IO[bytes]) -> None:
        """Share `arena`; nothing is mapped yet."""
        self._descriptor, self._tasks, self._answers = arena, tasks, answers
        self._arena: mmap.mmap | None = None
        self._settings: Settings | None = None
        self._own_bytes = _address_space()

    def serve(self) -> None:
        """Answer until the input closes."""
        for line in self._tasks:
            task = Task.read(line)
            self._settings = settings = task.settings or self._settings
            if settings is None:
                raise TypeError("the first task says the settings")
            signal.setitimer(signal.ITIMER_REAL, settings.timeout_s)
            try:
                answer = self._do(task, settings).line()
            except Exception:  # noqa: BLE001  # told to the job, which ends with it: a fault of ours, of no image
                answer = json.dumps({"fault": traceback.format_exc()}).encode() + b"\n"
            signal.setitimer(signal.ITIMER_REAL, 0)
            try:
                self._answers.write(answer)
            except BrokenPipeError:
                return

    def _do(self, task: Task, settings: Settings) -> Answer:
        arena = self._mapped(task.arena_bytes)
        self._allow(UNASKED_BYTES)
        data = arena[: task.size_bytes]
        made = make(data, settings.geometry.pixels, lambda facts: self._ask_for(facts, settings), settings)
        at = place_of_results(task.size_bytes)
        sizes = [0, 0]
        if made.pixels is not None:
            sizes[0] = made.pixels.nbytes
            np.frombuffer(arena, np.uint8, sizes[0], at)[:] = made.pixels.ravel()
        if made.thumbnail is not None:
            sizes[1] = len(made.thumbnail)
            arena[at + sizes[0] : at + sum(sizes)] = made.thumbnail
        return Answer(made.outcome, made.facts, made.sha256, made.pixels_sha256, sizes[0], sizes[1], made.for_device)

    def _mapped(self, size_bytes: int) -> mmap.mmap:
        if self._arena is None or len(self._arena) != size_bytes:
            self._arena = mmap.mmap(self._descriptor, size_bytes)
        return self._arena

    def _ask_for(self, facts: ImageFacts, settings: Settings) -> None:
        """Wait until the job has room for the pixels of a large picture; raise Refused where it never will."""
        needed = bytes_needed(facts)
        if not needed:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)  # waiting is no fault of the picture
        self._answers.write(json.dumps({"needs": needed}).encode() + b"\n")
        granted = json.loads(self._tasks.readline() or b"null")
        if granted is None:
            os._exit(0)  # the job is gone
        if not granted:
            raise Refused(over_memory(facts, needed), facts)
        self._allow(needed)
        signal.setitimer(signal.ITIMER_REAL, settings.timeout_s)

    def _allow(self, more_bytes: int) -> None:
        """Let the kernel refuse this process more memory than the task needs: Pillow then raises MemoryError."""
        if self._own_bytes is None:
            return
        limit = self._own_bytes + len(self._arena or b"") + more_bytes + _HEADROOM_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _address_space() -> int | None:
    """Return the bytes of address space that this process has, None where the kernel does not say it (not Linux)."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # read once, at start
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None
