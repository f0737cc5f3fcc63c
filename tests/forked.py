"""`python -m MODULE` as subprocess starts it, but in a process that has loaded torch already: that takes seconds."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd
from typing import Any


class Forked:
    """What a supervisor uses of `subprocess.Popen`: pipes, signals, and how it ended."""

    def __init__(self, processes: ForkServerContext, module: str, environment: Mapping[str, str]) -> None:
        """Start `python -m module` with these variables, its stdin and stdout being pipes."""
        (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
        self.stdin, self.stdout = os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb")
        arguments = (module, dict(environment), _Pipe(its_stdin), _Pipe(its_stdout))
        self._process = processes.Process(target=_run, args=arguments)
        self._process.start()
        self.pid = self._process.pid
        self.terminate, self.kill = self._process.terminate, self._process.kill

    @property
    def returncode(self) -> int | None:
        """The exit code, that of a signal negative; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `returncode`."""
        return self.returncode

    def wait(self) -> int | None:
        """Wait for its end; return how it was."""
        self._process.join()
        return self.returncode


class _Pipe:
    """One end of a pipe, which moves into the process that it is pickled for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _detached, (DupFd(self._descriptor),)

    def __del__(self) -> None:
        os.close(self._descriptor)


def _detached(end: Any) -> int:  # noqa: ANN401  # multiprocessing has no public name for it
    return int(end.detach())


def _run(module: str, environment: Mapping[str, str], stdin: int, stdout: int) -> None:
    """Be `python -m module` in a process that a fork server has started."""
    os.environ.update(environment)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.close(stdin)
    os.close(stdout)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    runpy.run_module(module, run_name="__main__")


def forking(processes: ForkServerContext, started: list[Forked]) -> Callable[..., Forked]:
    """What stands in the place of `subprocess.Popen`; it notes what it has started."""

    def popen(words: Sequence[str], *, stdin: int, stdout: int, env: Mapping[str, str]) -> Forked:
        assert (words[:2], stdin, stdout) == ([sys.executable, "-m"], subprocess.PIPE, subprocess.PIPE)
        started.append(Forked(processes, words[2], env))
        return started[-1]

    return popen
