"""What the figures were taken on, how much memory a process took at most, and what must not happen in it."""

import os
import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def describe() -> str:
    """Return processor, cores and memory in one line."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def installed() -> dict[str, str]:
    """Return the environment of a command as users have it: pip leaves compiled modules, so none is compiled anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def apart(function: Callable[P, T], *given: P.args, **words: P.kwargs) -> T:
    """Return what a function answers in a process of its own: what it loads, torch for one, is not loaded here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *given, **words).result()


def resident_mb(pid: int) -> float:
    """Return the memory that a process holds now, in MB; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has taken, threads included; 0 where it has ended."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system = said[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def children() -> list[int]:
    """Return the processes that this one has started and that have not ended."""
    me = os.getpid()
    return [int(child) for task in Path(f"/proc/{me}/task").iterdir() for child in _words(task / "children")]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
