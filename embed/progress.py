"""What a job says while it works: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

PLAIN_LINE_EVERY_S = 10.0
_MINUTE, _HOUR = 60, 3600


@dataclass
class Tally:
    """What a job has done so far; written by its threads, read by whoever shows it."""

    listed: int = 0
    already_done: int = 0
    listing_complete: bool = False
    embedded: int = 0
    not_images: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    started: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def finished(self) -> int:
        """Objects with an outcome from this job."""
        return self.embedded + self.not_images + sum(self.errors.values())

    @property
    def wanted(self) -> int:
        """Objects listed so far that no earlier job has done."""
        return self.listed - self.already_done

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage; stages of many threads add up to more than the clock's time."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.stage_seconds[name] += time.perf_counter() - start

    def add_bytes(self, count: int) -> None:
        """Count bytes read."""
        with self._lock:
            self.bytes_read += count

    def line(self) -> str:
        """Return the state as one line: images, rates, errors and time left."""
        rate = self.finished / max(self.seconds, 1e-9)
        left = (self.wanted - self.finished) / rate if rate and self.listing_complete else None
        total = f"{self.wanted:,}" if self.listing_complete else f"{self.wanted:,}+ (listing)"
        return " · ".join(
            [
                f"{self.finished:,} of {total} images",
                f"{rate:,.1f} images/s",
                f"{self.bytes_read / max(self.seconds, 1e-9) / 1e6:,.1f} MB/s",
                f"{sum(self.errors.values()):,} errors",
                f"{duration(left)} left" if left is not None else "time left unknown",
            ]
        )


def duration(seconds: float) -> str:
    """Return `42 s`, `3 min 20 s` or `5 h 12 min`."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


class Display:
    """Shows a tally on stderr, as often as it is told to."""

    def __init__(self, tally: Tally) -> None:
        """Choose the live bar where stderr is a terminal."""
        self._tally = tally
        self._console = Console(stderr=True)
        self._live: Progress | None = None
        self._next_line = PLAIN_LINE_EVERY_S

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Show progress for as long as the block runs."""
        if not self._console.is_terminal:
            yield self
            return
        columns = (BarColumn(30), TaskProgressColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self._console, transient=True) as self._live:
            self._task = self._live.add_task("listing …", total=None)
            yield self

    def refresh(self) -> None:
        """Show the tally as it is now; on a plain stream at most one line every PLAIN_LINE_EVERY_S."""
        tally = self._tally
        if self._live is not None:
            total = tally.wanted if tally.listing_complete else None
            self._live.update(self._task, description=tally.line(), completed=tally.finished, total=total)
        elif tally.seconds >= self._next_line:
            self._next_line = tally.seconds + PLAIN_LINE_EVERY_S
            sys.stderr.write(f"{tally.line()}\n")
            sys.stderr.flush()
