"""Where pictures are made: in processes that a bad file may crash, or in the threads that ask."""

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from threading import BoundedSemaphore, Lock
from typing import Protocol

from embed.decode import Refused
from embed.decoders.memory import Memory
from embed.decoders.messages import bytes_needed, over_memory
from embed.decoders.process import DecodingProcess, Died, why
from embed.decoders.settings import Settings
from embed.decoders.work import Made, Resize, make
from store.records import ImageFacts

_TRIES = 2
"""A process that is killed may have been killed for another reason: the image is tried in a fresh one."""


class Decoding(Protocol):
    """Some places at which pictures are made, one at a time at each."""

    count: int

    def place(self) -> AbstractContextManager["DecodingProcess | None"]:
        """Wait for a place that is free, and hold it."""

    def make(self, data: bytes, place: "DecodingProcess | None") -> Made:
        """Return what becomes of an object's bytes."""

    def close(self) -> None:
        """Let go of what is held; call it when no thread decodes any more."""


class Threads:
    """Decodes in the threads that ask: nothing to start, and a file that crashes a decoder ends the job."""

    def __init__(self, count: int, settings: Settings, memory: Memory, resize: Resize | None = None) -> None:
        """Let `count` decode at once; `resize` stands for what no geometry describes."""
        self.count, self._settings, self._memory = count, settings, memory
        self._resize = resize or settings.geometry.pixels
        self._places = BoundedSemaphore(count)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Wait until fewer than `count` decode."""
        with self._places:
            yield

    def make(self, data: bytes, place: DecodingProcess | None) -> Made:  # noqa: ARG002  # this thread is the place
        """Return what becomes of an object's bytes."""
        taken: list[int] = []

        def grant(facts: ImageFacts) -> None:
            if needed := bytes_needed(facts):
                if not self._memory.take(needed):
                    raise Refused(over_memory(facts, needed), facts)
                taken.append(needed)

        try:
            return make(data, self._resize, grant, self._settings)
        finally:
            self._memory.give_back(sum(taken))

    def close(self) -> None:
        """Do nothing."""


class Processes:
    """Decodes in processes of their own: a file that crashes or hangs a decoder costs that one image."""

    def __init__(self, count: int, settings: Settings, memory: Memory) -> None:
        """Use at most `count` processes at once; each is started when it is first needed."""
        self.count, self._settings, self._memory = count, settings, memory
        self._idle: list[DecodingProcess] = []  # the last one used is taken first, so few objects need few processes
        self._free: SimpleQueue[None] = SimpleQueue()  # a turn for each; a tenth of what a semaphore costs
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def place(self) -> Iterator[DecodingProcess]:
        """Wait for a process that is free, and hold it."""
        self._free.get()
        try:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _WARM.take()
            try:
                yield process
            finally:
                self._idle.append(process)
        finally:
            self._free.put(None)

    def make(self, data: bytes, place: DecodingProcess | None) -> Made:
        """Return what becomes of an object's bytes; one that kills the process has an outcome like any other."""
        if place is None:
            raise TypeError("a process decodes only at its own place")
        for left in reversed(range(_TRIES)):
            try:
                return place.make(data, self._settings, self._memory)
            except Died as died:
                place.restart()
                if died.by_alarm or not left:
                    return why(died, self._settings.timeout_s)
        raise AssertionError  # the last try returns

    def close(self) -> None:
        """Leave the processes to the next job of this program."""
        idle, self._idle = self._idle, []
        for process in idle:
            _WARM.keep(process)


class _Warm:
    """Processes that no job uses at the moment: starting one takes a fifth of a second."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner = os.getpid()
        self._processes: list[DecodingProcess] = []

    def take(self) -> DecodingProcess:
        with self._lock:
            if self._owner != os.getpid():  # forked: these are the parent's
                self._owner, self._processes = os.getpid(), []
            while self._processes:
                process = self._processes.pop()
                if process.lives:
                    return process
                process.close()
        return DecodingProcess()

    def keep(self, process: DecodingProcess) -> None:
        with self._lock:
            self._processes.append(process)

    def close(self) -> None:
        with self._lock:
            processes, self._processes = self._processes, []
        if self._owner == os.getpid():
            for process in processes:
                process.close()


_WARM = _Warm()


@atexit.register
def close_idle() -> None:
    """End the processes that no job uses."""
    _WARM.close()
