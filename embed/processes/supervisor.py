"""Starts one process for each device, adds up what they say, and ends as the worst of them ended."""

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from embed.metrics import metrics_file
from embed.processes.family import Child, Family, Words
from embed.request import EmbedRequest, OnStart, Started, Summary, start_silently
from embed.size import LEAST_BYTES
from embed.stopping import stopped_by_signals
from store.cores import cores
from store.errors import UsageError
from store.shards import Shard


def run_all(
    request: EmbedRequest, count: int, prompts: Sequence[str] = (), on_start: OnStart = start_silently
) -> Summary:
    """Run `count` processes, each with its share, and return what they have done together.

    A wish to stop reaches all of them. Where one fails, the others are asked to stop, and its error is raised; where
    one dies, the others go on, and the error says that its share is still pending.
    """
    stop = threading.Event()
    said: queue.SimpleQueue[Words] = queue.SimpleQueue()
    with ExitStack() as shown, stopped_by_signals(stop), _children(request, count, prompts, said) as children:

        def started(job: Started) -> Callable[[], None]:
            show = on_start(job)
            write_metrics = shown.enter_context(metrics_file(request.metrics, job.tally, request.source, job.encoder))

            def on_tick() -> None:
                show()
                write_metrics()

            return on_tick

        family = Family(children, request.source, started)
        while family.is_running:
            family.hear(said)
            if stop.is_set() or family.failed:
                family.end()
            family.on_tick()
        return family.outcome(stopped=stop.is_set())


@contextmanager
def _children(
    request: EmbedRequest, count: int, prompts: Sequence[str], said: "queue.SimpleQueue[Words]"
) -> Iterator[list[Child]]:
    """Start the processes; none outlives the block."""
    shares = [_share(request, Shard(number, count)) for number in range(1, count + 1)]
    devices = _devices(request.device, count)
    children: list[Child] = []
    threads: list[threading.Thread] = []
    try:
        for number in range(1, count + 1):
            process = subprocess.Popen(  # our own module
                [sys.executable, "-m", "embed.processes.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **_environment(_cores(count)), **devices[number - 1]},
            )
            children.append(Child(process, number))
            words = pickle.dumps((shares[number - 1], list(prompts) if number == 1 else []))  # one caches them for all
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
    """Return what one child is asked: its images, decoders for no more than its cores, its part of the memory."""
    decoders = _cores(shard.count) if request.options.decoders is None else request.options.decoders
    memory = _memory(request.options.memory_bytes, shard.count)
    options = replace(request.options, shard=shard, decoders=decoders, memory_bytes=memory)
    return replace(request, processes=1, metrics=None, options=options)


def _memory(whole: int | None, count: int) -> int | None:
    """Return a child's part of what all may have for images in flight; None where that was left open."""
    if whole is None:
        return None
    if (each := whole // count) < LEAST_BYTES:
        raise UsageError(
            f"--memory leaves each of {count} processes {each / 1e6:,.0f} MB for images in flight.",
            f"With less than {LEAST_BYTES / 1e6:,.0f} MB hardly a photo could be decoded.",
            "Give more --memory, or fewer --processes.",
        )
    return each


def _talk(process: subprocess.Popen[bytes], words: bytes, place: int, said: "queue.SimpleQueue[Words]") -> None:
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
    """Return what lets a child find this project, and use no more threads and compilers than its cores."""
    here = str(Path(__file__).resolve().parents[2])
    found = os.environ.get("PYTHONPATH")
    path = here if not found else os.pathsep.join([here, found])
    counted = ("OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")  # the second is of processes, by torch.compile
    return {"PYTHONPATH": path, **{name: os.environ.get(name, str(threads)) for name in counted}}
