"""What several processes say, added up: one tally for whoever watches, one summary, one error."""

import queue
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from embed.notes import note
from embed.on_device.record import OnDevice, together
from embed.progress import Tally
from embed.request import OnStart, Started, Summary
from store import errors
from store.encoder import Encoder
from store.errors import ClipsieveError
from store.shards import Shard

_LOOK_EVERY_S = 0.2

Words = tuple[int, dict[str, Any]]
"""The place of a process among all, and what it said; nothing where it has ended."""


@dataclass
class Child:
    """One process: what it said last, and how it ended."""

    process: subprocess.Popen[bytes]
    number: int
    state: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None
    is_silent: bool = False  # its stdout has ended


@dataclass
class _Together(Tally):
    """What several processes have done. A stage's share is that of all its places: one that ended early has fewer."""

    could_be_busy: Mapping[str, float] = field(default_factory=dict)

    @property
    def available(self) -> dict[str, float]:
        """By stage the seconds for which the places of all processes could have been busy, each while it worked."""
        return dict(self.could_be_busy)


class Family:
    """All children of one run."""

    def __init__(self, children: list[Child], source: str, on_start: OnStart) -> None:
        """Take processes that have begun; `on_start` is told once, when the first of them says what it runs."""
        self._children, self._source, self._on_start = children, source, on_start
        self._tally = _Together()
        self._asked = False
        self.on_tick: Callable[[], None] = lambda: None
        self._shown = False

    @property
    def is_running(self) -> bool:
        """Whether any child may still say something."""
        return not all(child.is_silent for child in self._children)

    @property
    def failed(self) -> bool:
        """Whether any child ended in an error."""
        return any(child.error is not None for child in self._children)

    @property
    def limit(self) -> str:
        """What limits all of them together."""
        return self._tally.limit

    def hear(self, said: "queue.SimpleQueue[Words]") -> None:
        """Take in what was said, waiting a moment for the first of it."""
        try:
            number, words = said.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            return
        child = self._children[number]
        child.is_silent = not words
        child.state = words.get("state", child.state)
        child.summary = words.get("summary", child.summary)
        child.error = words.get("error", child.error)
        if "note" in words:
            note(words["note"])
        if "started" in words and not self._shown:
            self._shown = True
            encoder = Encoder.from_json(words["started"]["encoder"].encode(), "a child's word")
            device = f"{words['started']['device']} in {len(self._children)} processes"
            self.on_tick = self._on_start(Started(encoder, device, self._tally))
        self._add_up()

    def end(self) -> None:
        """Ask every child once to finish the part in hand."""
        if not self._asked:
            self._asked = True
            for child in self._children:
                child.process.terminate()

    def outcome(self, *, stopped: bool) -> Summary:
        """Return what was done together; raise the first error, or one that says who died."""
        for child in self._children:
            child.process.wait()
            if child.error is not None:
                raise raised(child.error)
        dead = [child for child in self._children if child.summary is None]
        if dead and not stopped:  # one that was still loading when it was asked to stop has nothing in hand
            shares = ", ".join(str(Shard(child.number, len(self._children))) for child in dead)
            raise ClipsieveError(
                f"The process of share {shares} ended without a word (exit status {dead[0].process.returncode}).",
                "What it had in hand is still pending; everything else is in the store.",
                "Run the same command again: it goes on from here.",
            )
        self._add_up()
        ended = [child.summary for child in self._children if child.summary is not None]
        first = ended[0] if ended else {}
        summary = Summary.of(
            self._tally,
            run_id=first.get("run_id", ""),
            encoder_id=first.get("encoder_id", ""),
            source=first.get("source", self._source),
            stopped=stopped or any(one["stopped"] for one in ended),
        )
        return replace(summary, processes=len(self._children))

    def _add_up(self) -> None:
        """Let the tally be the sum of what the children said last."""
        states = [child.summary or child.state for child in self._children]
        tally = self._tally
        for name in ("listed", "already_done", "embedded", "not_images", "bytes_read"):
            setattr(tally, name, sum(state.get(name, 0) for state in states))
        tally.listing_complete = all(
            child.summary is not None or child.state.get("listing_complete", False) for child in self._children
        )
        tally.errors = sum((Counter(state.get("errors", {})) for state in states), Counter())
        tally.stage_seconds = _sums(state.get("stage_seconds", {}) for state in states)
        tally.could_be_busy = _sums(child.state.get("available", {}) for child in self._children)
        tally.on_device = together(OnDevice(**found) for state in states if (found := state.get("on_device")))
        said = [child.state.get("trouble", "") for child in self._children if child.summary is None]
        tally.trouble = lambda: next(filter(None, said), "")


def _sums(of: Iterable[Mapping[str, float]]) -> defaultdict[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for seconds in of:
        for name, spent in seconds.items():
            sums[name] += spent
    return sums


def raised(said: Mapping[str, str]) -> ClipsieveError:
    """Return the error that a process has said, as the class that it was."""
    kind = getattr(errors, said["kind"], ClipsieveError)
    error: ClipsieveError = kind(said["what"], said["why"], said["do"])
    return error
