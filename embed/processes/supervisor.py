"""Starts one process for each device, adds up what they say, and ends as the worst of them ended."""

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embed.metrics import metrics_file
from embed.on_device.record import OnDevice, together
from embed.progress import Tally
from embed.request import EmbedRequest, OnStart, Started, Summary, start_silently
from embed.stopping import stopped_by_signals
from store import errors
from store.cores import cores
from store.encoder import Encoder
from store.errors import ClipsieveError
from store.shards import Shard

_LOOK_EVERY_S = 0.2


def run_all(
    request: EmbedRequest, count: int, prompts: Sequence[str] = (), on_start: OnStart = start_silently
) -> Summary:
    """Run `count` processes, each with its share, and return what they have done together.

    A wish to stop reaches all of them. Where one fails, the others are asked to stop, and its error is raised; where
    one dies, the others go on, and the error says that its share is still pending.
    """
    stop = threading.Event()
    said: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    with ExitStack() as shown, stopped_by_signals(stop), _children(request, count, prompts, said) as children:

        def started(job: Started) -> Callable[[], None]:
            show = on_start(job)
            write_metrics = shown.enter_context(metrics_file(request.metrics, job.tally, request.source, job.encoder))

            def on_tick() -> None:
                show()
                write_metrics()

            return on_tick

        family = _Family(children, request.source, started)
        while family.is_running:
            family.hear(said)
            if stop.is_set() or family.failed:
                family.end()
            family.on_tick()
        return family.outcome(stopped=stop.is_set())


@dataclass
class _Child:
    """One process: what it said last, and how it ended."""

    process: subprocess.Popen[bytes]
    number: int
    state: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None
    is_silent: bool = False  # its stdout has ended


class _Family:
    """All children of one run."""

    def __init__(self, children: list[_Child], source: str, on_start: OnStart) -> None:
        self._children, self._source, self._on_start = children, source, on_start
        self._tally = Tally()
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

    def hear(self, said: "queue.SimpleQueue[tuple[int, dict[str, Any]]]") -> None:
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
                raise _raised(child.error)
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
        first, tally = ended[0] if ended else {}, self._tally
        return Summary(
            run_id=first.get("run_id", ""),
            encoder_id=first.get("encoder_id", ""),
            source=first.get("source", self._source),
            listed=tally.listed,
            already_done=tally.already_done,
            embedded=tally.embedded,
            not_images=tally.not_images,
            errors=dict(tally.errors),
            bytes_read=tally.bytes_read,
            seconds=tally.seconds,
            stage_seconds=dict(tally.stage_seconds),
            stage_busy=first.get("stage_busy", {}),
            limited_by=first.get("limited_by", ""),
            stopped=stopped or any(one["stopped"] for one in ended),
            on_device=tally.on_device,
        )

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
        seconds: defaultdict[str, float] = defaultdict(float)
        for state in states:
            for name, spent in state.get("stage_seconds", {}).items():
                seconds[name] += spent
        tally.stage_seconds = seconds
        tally.on_device = together(OnDevice(**found) for state in states if (found := state.get("on_device")))


@contextmanager
def _children(
    request: EmbedRequest, count: int, prompts: Sequence[str], said: "queue.SimpleQueue[tuple[int, dict[str, Any]]]"
) -> Iterator[list[_Child]]:
    """Start the processes; none outlives the block."""
    devices = _devices(request.device, count)
    children: list[_Child] = []
    threads: list[threading.Thread] = []
    try:
        for number in range(1, count + 1):
            process = subprocess.Popen(  # our own module
                [sys.executable, "-m", "embed.processes.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_environment(_cores(count)), **devices[number - 1]},
            )
            children.append(_Child(process, number))
            asked = _share(request, Shard(number, count))
            words = pickle.dumps((asked, list(prompts) if number == 1 else []))  # one caches them for all
            threads.append(threading.Thread(target=_talk, args=(process, words, number - 1, said), daemon=True))
            threads[-1].start()
        yield children
    finally:
        for child in children:
            if child.process.poll() is None:
                child.process.kill()
            child.process.wait()
        for thread in threads:
            thread.join()
        for child in children:
            for pipe in (child.process.stdin, child.process.stdout):
                if pipe is not None:
                    pipe.close()


def _share(request: EmbedRequest, shard: Shard) -> EmbedRequest:
    """Return what one child is asked: its images, and decoders for no more than its cores."""
    decoders = _cores(shard.count) if request.options.decoders is None else request.options.decoders
    options = replace(request.options, shard=shard, decoders=decoders)
    return replace(request, processes=1, metrics=None, options=options)


def _talk(
    process: subprocess.Popen[bytes], words: bytes, place: int, said: "queue.SimpleQueue[tuple[int, dict[str, Any]]]"
) -> None:
    """Hand a child its request, and pass on what it says; an empty word means that it has ended."""
    try:
        if process.stdin is not None and process.stdout is not None:
            process.stdin.write(words)
            process.stdin.close()
            for line in process.stdout:
                said.put((place, json.loads(line)))
    except (OSError, ValueError):
        pass  # it died in the middle of a word
    finally:
        said.put((place, {}))


def _devices(device: str, count: int) -> list[dict[str, str]]:
    """Return what makes each child see one GPU, in turn; nothing where there is none, or the user has named the device.

    With more processes than GPUs several share one: each has a model there, and a share of the reading.
    """
    if device not in {"auto", "cuda"}:
        return [{}] * count
    from embed.encoders.device import visible_gpus  # noqa: PLC0415  # torch, which a machine of other engines lacks

    gpus = visible_gpus()
    return [{"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {} for place in range(count)]


def _cores(count: int) -> int:
    """Return how many cores each child may count as its own: all of them together use each once."""
    return max(1, cores() // count)


def _environment(threads: int) -> dict[str, str]:
    """Return what lets a child find this project, and use no more threads than its cores."""
    here = str(Path(__file__).resolve().parents[2])
    found = os.environ.get("PYTHONPATH")
    path = here if not found else os.pathsep.join([here, found])
    return {"PYTHONPATH": path, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def _raised(said: Mapping[str, str]) -> ClipsieveError:
    kind = getattr(errors, said["kind"], ClipsieveError)
    error: ClipsieveError = kind(said["what"], said["why"], said["do"])
    return error
