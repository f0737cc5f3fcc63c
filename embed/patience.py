"""Reading through the faults of a service: fewer requests when it says slow down, none while it is away.

An outage costs no object: the readers pause together, one of them tries again now and then, and if the service stays
away for too long the job ends, with what is left pending. An object is given up, as `read_failed`, only where others
can be read meanwhile.
"""

import random
import threading
import time
from collections.abc import Callable
from itertools import count
from threading import Condition, Event

from embed.notes import note
from embed.progress import duration
from embed.sources import Fetched, ReadFailed, Source
from embed.sources.read import Unavailable
from store.again import Answer
from store.errors import NotNow, SourceError
from store.pace import Pace
from store.records import SourceObject

ATTEMPTS = 6
"""So often an object is tried while others can be read."""

FAILURES_IN_A_ROW = 8
"""So many answers without a single good one, and the readers pause."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 15.0

SAY_EVERY_S = 30.0

OUTAGE_S = 600.0
"""So long an outage is waited for, unless the user says otherwise."""


class Over(Exception):
    """The job has ended; nobody waits for this read any more."""


class Service:
    """What the readers of one source know together: whether the service is there, and since when not."""

    def __init__(self, limit_s: float, over: Event) -> None:
        """Wait for an outage for `limit_s` at most; setting `over` ends every wait."""
        self._limit_s, self._over = limit_s, over
        self._changed = Condition()
        self._failures = 0
        self._answers = 0
        self._away_since: float | None = None
        self._asking = self._asked_in_vain = False
        self._said = ""
        self._ended: SourceError | None = None

    @property
    def answers(self) -> int:
        """How many reads were answered by the service, whatever the answer: the same number twice means silence."""
        return self._answers

    @property
    def trouble(self) -> str:
        """What the service said last and for how long the readers pause, for people; empty while they read."""
        since = self._away_since
        return "" if since is None else f"{self._said} for {time.monotonic() - since:.0f} s, waiting"

    def answered(self) -> None:
        """Note an answer: it ends a pause."""
        with self._changed:
            self._answers += 1
            self._failures = 0
            if self._away_since is not None:
                self._away_since = None
                self._changed.notify_all()

    def failed(self, said: str) -> None:
        """Note that the service did not do its work."""
        with self._changed:
            self._failures += 1
            self._said = said
            if self._failures >= FAILURES_IN_A_ROW:
                self._pause()

    def silent(self) -> None:
        """Pause now: something failed again and again, and nothing was answered since."""
        with self._changed:
            self._pause()

    def _pause(self) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._asked_in_vain = False

    def wait(self, ask: Callable[[], None]) -> bool:
        """Return once the service is there; True if it has really been away, so that what failed before tells nothing.

        Of those who wait one at a time calls `ask`, which notes what comes of it. Raise SourceError where the outage
        has lasted too long.
        """
        if self._away_since is None and not self._is_over():
            return False  # without the lock: an outage that begins now is met by the request itself
        paused = False
        while True:
            with self._changed:
                paused = paused or self._away_since is not None
                self._changed.wait_for(lambda: self._away_since is None or not self._asking or self._is_over())
                self._raise_if_over()
                if self._away_since is None:
                    return paused and self._asked_in_vain
                self._asking = True
            try:
                self._ask_until_answered(ask)
            finally:
                with self._changed:
                    self._asking = False
                    self._changed.notify_all()

    def _ask_until_answered(self, ask: Callable[[], None]) -> None:
        for attempt in count():
            with self._changed:
                since = self._away_since
                if since is None:
                    return
                self._asked_in_vain = attempt > 0
                if time.monotonic() - since > self._limit_s:
                    self._ended = _too_long(self._limit_s, self._said)
                self._raise_if_over()
            if attempt:
                self._over.wait(backoff_s(attempt))
            if not self._over.is_set():
                ask()

    def end(self) -> None:
        """Let everybody who waits go; call it after `over` is set."""
        with self._changed:
            self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._ended is not None or self._over.is_set()

    def _raise_if_over(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._over.is_set():
            raise Over


class Reads:
    """Reads the objects of a source, from many threads, for as long as it takes."""

    def __init__(self, source: Source, limit_s: float = OUTAGE_S, over: Event | None = None) -> None:
        """Read from `source`; setting `over` ends every wait, and then every read that waits raises Over."""
        self._source, self._over = source, over or Event()
        self.service = Service(limit_s, self._over)
        self._pace = Pace(source.readers)
        self._known_good: SourceObject | None = None

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one object; raise ReadFailed where only it is at fault, SourceError where the service stays away."""
        attempts, answers = 0, self.service.answers
        while True:
            if self.service.wait(lambda: self._ask(wanted)):
                attempts, answers = 0, self.service.answers
            try:
                return self._try(wanted)
            except Unavailable as failure:
                said = str(failure)
            attempts += 1
            if attempts < ATTEMPTS:
                self._over.wait(backoff_s(attempts))
                continue
            if self.service.answers == answers and not self._others_are_read(wanted):
                self.service.silent()
                continue
            raise Unavailable(f"{said} at each of {attempts} attempts")

    def close(self) -> None:
        """Let every read that waits end; call it after `over` is set."""
        self.service.end()

    def _try(self, wanted: SourceObject) -> Fetched:
        """Read once, and let everybody know how it went."""
        with self._pace.slot():
            try:
                fetched = self._source.fetch(wanted)
            except Unavailable as failure:
                if failure.slow_down:
                    self._pace.slow_down()
                self.service.failed(str(failure))
                raise
            except ReadFailed:
                self.service.answered()
                raise
        self._pace.went_well()
        self.service.answered()
        self._known_good = wanted
        return fetched

    def _others_are_read(self, wanted: SourceObject) -> bool:
        """Read again what could be read before, to tell whether it is the service or this object alone."""
        known = self._known_good
        return known is not None and known is not wanted and self._answers_for(known)

    def _ask(self, wanted: SourceObject) -> None:
        """Ask an absent service for what could be read before, else for what is wanted now."""
        self._answers_for(self._known_good or wanted)

    def _answers_for(self, one: SourceObject) -> bool:
        try:
            self._try(one)
        except Unavailable:
            return False
        except ReadFailed:
            return True
        return True


class _Said:
    """What was said last: many threads wait together, and one line tells it all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._not_before = 0.0

    def once_in_a_while(self, words: str) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._not_before:
                return
            self._not_before = now + SAY_EVERY_S
        note(words)


_SAID = _Said()


def patiently(do: Callable[[], Answer], limit_s: float, over: Event) -> Answer:
    """Do something at a place that may be away for a while, and try again for `limit_s`; raise NotNow after that.

    Whoever looks is told once, since nothing else may move meanwhile.
    """
    began = time.monotonic()
    attempt = 0
    while True:
        try:
            return do()
        except NotNow as failure:
            attempt += 1
            if over.is_set() or time.monotonic() - began > limit_s:
                raise
            if attempt == 1:
                _SAID.once_in_a_while(f"{failure.what} Trying again for up to {duration(limit_s)}.")
        over.wait(backoff_s(attempt))


def backoff_s(attempt: int) -> float:
    """Return how long to wait before the attempt after `attempt` failed ones; drawn, so that readers spread out."""
    longest: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 20))
    return longest * random.uniform(0.5, 1)  # noqa: S311  # no secret


def _too_long(limit_s: float, said: str) -> SourceError:
    return SourceError(
        f"The service has not answered for {limit_s:,.0f} s ({said}).",
        "What was read until then is in the store, and everything else is still pending.",
        "Run the same command again when it is back; --patience sets how long a job waits for it.",
    )
