"""What a job has done and where its time goes; and how that is shown: a live bar, plain lines, or lines of JSON."""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from embed.on_device.record import OnDevice

PLAIN_LINE_EVERY_S = 10.0
_MINUTE, _HOUR = 60, 3600

BUSY = 0.5
"""A stage whose places are busy for less of the time limits nothing."""

PYTHON = "python"
"""What stands among the stages for the job's own process: with one place, since Python runs on one core at a time."""

PYTHON_LIMITS = 0.9
"""A process that computes for so much of the time has no more to give; its stages then look busy while they wait."""


@dataclass
class Tally:
    """What a job has done so far; written by its threads, read by whoever shows it."""

    listed: int = 0
    already_done: int = 0
    listing_complete: bool = False
    embedded: int = 0
    not_images: int = 0
    parts: int = 0  # written
    errors: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    places: dict[str, int] = field(default_factory=dict)  # how many can work at a stage at once
    trouble: Callable[[], str] = field(default=str, repr=False)  # why reading pauses, empty while it does not
    started: float = field(default_factory=time.monotonic)
    on_device: OnDevice | None = None  # of JPEGs that the device decodes
    working_since: float | None = None  # when the flow began, after loading and the prompts
    _python_began: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def finished(self) -> int:
        """Objects with an outcome from this job."""
        return self.embedded + self.not_images + sum(self.errors.values())

    @property
    def wanted(self) -> int:
        """Objects listed so far that no other job has done."""
        return self.listed - self.already_done

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def stage(self, name: str) -> "Stage":
        """Add the time spent inside to a stage; stages of many threads add up to more than the clock's time."""
        return Stage(self, name)

    def add_seconds(self, name: str, seconds: float) -> None:
        """Add time to a stage that was measured elsewhere, as by the device itself."""
        with self._lock:
            self.stage_seconds[name] += seconds

    def work_begins(self, places: dict[str, int]) -> None:
        """Note that images are read from now on, and how many can work at each stage at once."""
        self.places, self.working_since, self._python_began = places, time.monotonic(), time.process_time()

    def note_python(self) -> None:
        """Note what this process has computed since the work began, where that is one of the places."""
        if PYTHON in self.places:
            self.stage_seconds[PYTHON] = time.process_time() - self._python_began

    def add_done(self, count: int) -> None:
        """Count objects that other jobs have done, before or meanwhile."""
        with self._lock:
            self.already_done += count

    def add_bytes(self, count: int) -> None:
        """Count bytes read."""
        with self._lock:
            self.bytes_read += count

    @property
    def available(self) -> dict[str, float]:
        """By stage the seconds for which its places, taken together, could have been busy since the work began."""
        if self.working_since is None:
            return {}
        clock = max(time.monotonic() - self.working_since, 1e-9)
        return {name: clock * count for name, count in self.places.items()}

    @property
    def busy(self) -> dict[str, float]:
        """By stage the share of the time, 0 to 1, for which its places have been busy since the work began."""
        return {name: min(1.0, self.stage_seconds[name] / seconds) for name, seconds in self.available.items()}

    @property
    def limit(self) -> str:
        """The stage that limits the rate: the busiest one, or Python for all of them; empty before there is one."""
        if trouble := self.trouble():
            return f"the service ({trouble})"
        shares = self.busy
        if shares.pop(PYTHON, 0.0) >= PYTHON_LIMITS:
            return PYTHON
        busiest = max(shares, key=lambda name: shares[name], default="")
        if busiest and shares[busiest] >= BUSY:
            return busiest
        return "" if self.listing_complete or not shares else "list"

    def line(self) -> str:
        """Return the state as one line: images, rates, errors, time left, and the stage that limits."""
        rate = self.finished / max(self.seconds, 1e-9)
        left = (self.wanted - self.finished) / rate if rate and self.listing_complete else None
        total = f"{self.wanted:,}" if self.listing_complete else f"{self.wanted:,}+ (listing)"
        return " · ".join(
            [
                f"{self.finished:,} of {total} images",
                f"{rate:,.1f} images/s",
                f"{self.bytes_read / max(self.seconds, 1e-9) / 1e6:,.1f} MB/s",
                f"{sum(self.errors.values()):,} errors",
                *([f"limited by {self.limit}"] if self.limit else []),
                f"{duration(left)} left" if left is not None else "time left unknown",
            ]
        )

    def state(self) -> dict[str, Any]:
        """Return the state for machines: names and units as in the Prometheus file."""
        return {
            "listed": self.listed,
            "listing_complete": self.listing_complete,
            "already_done": self.already_done,
            "embedded": self.embedded,
            "not_images": self.not_images,
            "errors": dict(self.errors),
            "pending": self.wanted - self.finished,
            "bytes_read": self.bytes_read,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.embedded / max(self.seconds, 1e-9), 3),
            "stage_seconds": {name: round(seconds, 3) for name, seconds in sorted(self.stage_seconds.items())},
            "stage_busy": {name: round(share, 3) for name, share in sorted(self.busy.items())},
            "limited_by": self.limit,
            "trouble": self.trouble(),
            "on_device": asdict(self.on_device) if self.on_device else None,
        }


class Stage:
    """A block whose time counts for a stage; entered for every image, so it is no generator."""

    __slots__ = ("_began", "_name", "_tally")

    def __init__(self, tally: Tally, name: str) -> None:
        """Count for `name`."""
        self._tally, self._name = tally, name

    def __enter__(self) -> None:
        """Begin."""
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Count, also after an error."""
        self._tally.add_seconds(self._name, time.perf_counter() - self._began)


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

    def __init__(self, tally: Tally, *, as_json: bool = False) -> None:
        """Choose the live bar where stderr is a terminal, else lines; `as_json` makes them objects for machines."""
        self._tally, self._as_json = tally, as_json
        self._console = Console(stderr=True)
        self._live: Progress | None = None
        self._next_line = PLAIN_LINE_EVERY_S
        self._cautioned = False

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Show progress for as long as the block runs."""
        with ExitStack() as open_until_the_end:
            open_until_the_end.callback(self._caution)
            if self._console.is_terminal and not self._as_json:
                columns = (BarColumn(30), TaskProgressColumn(), TextColumn("{task.description}"))
                progress = Progress(*columns, console=self._console, transient=True)
                self._live = open_until_the_end.enter_context(progress)
                self._task = self._live.add_task("listing …", total=None)
            yield self

    def refresh(self) -> None:
        """Show the tally as it is now; on a plain stream at most one line every PLAIN_LINE_EVERY_S."""
        tally = self._tally
        self._caution()
        if self._live is not None:
            total = tally.wanted if tally.listing_complete else None
            self._live.update(self._task, description=tally.line(), completed=tally.finished, total=total)
        elif tally.seconds >= self._next_line:
            self._next_line = tally.seconds + PLAIN_LINE_EVERY_S
            line = json.dumps({"event": "progress", **tally.state()}) if self._as_json else tally.line()
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def _caution(self) -> None:
        """Say once, when it is known and not hours later, that the device's pixels make other embeddings."""
        found = self._tally.on_device
        if self._cautioned or found is None or not found.caution:
            return
        self._cautioned = True
        said = f"{found.sentence} {found.caution}"
        line = json.dumps({"event": "caution", "caution": said}) if self._as_json else f"Note: {said}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
