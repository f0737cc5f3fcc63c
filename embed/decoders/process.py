"""The job's end of one decoding process: it is started, given objects, and started again when one has killed it."""

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from embed.decoders.memory import Memory
from embed.decoders.messages import PAGE_BYTES, THUMBNAIL_BYTES, Answer, Task, place_of_results
from embed.decoders.settings import Settings
from embed.decoders.work import Made
from store.records import ErrorCode, failed

_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv[1]); from embed.decoders.worker import main; main(int(sys.argv[2]))"
_READ = json.JSONDecoder().raw_decode  # without what `json.loads` does around it, for every image
_FIRST_ARENA_BYTES = 4 << 20
_KEPT_ARENA_BYTES = 64 << 20
"""An arena that one large object has stretched further is cut back after it."""


class Died(Exception):
    """The process has ended in the middle of a task."""

    def __init__(self, code: int) -> None:
        """Keep how: a status, or the negative number of a signal."""
        super().__init__(code)
        self.code = code
        self.by_alarm = code == -signal.SIGALRM


class DecodingProcess:
    """One process; used by one thread at a time."""

    def __init__(self) -> None:
        """Share nameless memory with it, which ends with both, and start it."""
        self._file = _nameless()
        self._size = _FIRST_ARENA_BYTES
        self._file.truncate(self._size)
        self._arena = mmap.mmap(self._file.fileno(), self._size)
        self._process = self._started()
        self._told: Settings | None = None

    def make(self, data: bytes, settings: Settings, memory: Memory) -> Made:
        """Return what becomes of an object's bytes; the pixels of a large picture wait for `memory`.

        Raise Died where the process does not live to say it.
        """
        geometry, at = settings.geometry, place_of_results(len(data))
        self._stretch(at + geometry.size_bytes + THUMBNAIL_BYTES)
        self._arena[: len(data)] = data
        answer = self._ask(self._task(len(data), settings), memory)
        end, pixels = at + answer.pixels_bytes, None
        if answer.pixels_bytes == geometry.size_bytes:
            pixels = np.ndarray(geometry.shape, np.uint8, self._arena, at).copy()
        return Made(
            answer.outcome,
            answer.facts,
            answer.sha256,
            answer.pixels_sha256,
            pixels,
            self._arena[end : end + answer.thumbnail_bytes] or None,
            answer.for_device,
        )

    @property
    def pid(self) -> int:
        """The process that decodes at present."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def restart(self) -> None:
        """Start another process in place of one that died; the memory stays."""
        self._drop_process()
        self._process, self._told = self._started(), None

    def close(self) -> None:
        """End the process and give the memory back."""
        self._drop_process()
        self._arena.close()
        self._file.close()

    def _task(self, size_bytes: int, settings: Settings) -> Task:
        """Return the task of an object in the arena, with what the process has not been told yet."""
        known, self._told = settings is self._told, settings
        return Task(size_bytes, self._size, None if known else settings)

    def _ask(self, task: Task, memory: Memory) -> Answer:
        taken = 0
        self._tell(task.line())
        try:
            while isinstance(said := self._hear(), dict):
                if "fault" in said:
                    raise RuntimeError(f"A decoding process failed in our own code:\n{said['fault']}")
                needed = int(said["needs"])
                if granted := memory.take(needed):
                    taken += needed
                self._tell(json.dumps(granted).encode() + b"\n")
        finally:
            if taken:
                memory.give_back(taken)
        return Answer.of(said)

    def _tell(self, line: bytes) -> None:
        try:
            self._stdin.write(line)
        except BrokenPipeError:
            raise Died(self._process.wait()) from None

    def _hear(self) -> dict[str, Any] | list[Any]:
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise Died(self._process.wait())
        heard: dict[str, Any] | list[Any] = _READ(line.decode())[0]
        return heard

    def _stretch(self, size: int) -> None:
        """Let the arena hold at least `size` bytes; the process maps it anew when it is told of another size."""
        size = max(_FIRST_ARENA_BYTES, -(-size // PAGE_BYTES) * PAGE_BYTES)
        if self._size < size or self._size > max(size, _KEPT_ARENA_BYTES):
            self._arena.close()
            self._file.truncate(size)
            self._arena = mmap.mmap(self._file.fileno(), size)
            self._size = size

    def _started(self) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-c", _START, str(_ROOT), str(self._file.fileno())]
        process = subprocess.Popen(  # noqa: S603  # our own module
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what C libraries say of odd files
            pass_fds=[self._file.fileno()],
            bufsize=0,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None  # noqa: S101  # it is a pipe
        assert process.stdout is not None  # noqa: S101  # as above
        self._stdin: IO[bytes] = process.stdin
        self._stdout: IO[bytes] = os.fdopen(os.dup(process.stdout.fileno()), "rb")  # buffered, for whole lines
        process.stdout.close()
        return process

    def _drop_process(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()


def why(died: Died, timeout_s: float) -> Made:
    """Return the outcome of an image whose decoding has ended its process."""
    if died.by_alarm:
        return Made(failed(ErrorCode.DECODE_TIMEOUT, f"decoding took longer than {timeout_s:g} s"))
    by = signal.Signals(-died.code).name if died.code < 0 else f"status {died.code}"
    return Made(failed(ErrorCode.DECODER_CRASHED, f"decoding it ends the decoder's process: {by}"))


def _nameless() -> IO[bytes]:
    """Return a file in memory that has no name, so that nothing is left of it whatever ends."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("clipsieve-arena"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)  # closed with the process
