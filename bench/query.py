"""What pass 2 costs, each figure beside its floor, both taken in turn in one process, the best of several.

    python -m bench.query [--images 1_000_000 10_000_000] [--only NAME …] [--folder FOLDER]

The stores are synthetic (`bench.synthetic`, D = 512; ten million images take 12 GB) and lie in a temporary folder, or
in FOLDER, where they stay and are used again. Every figure has a process of its own, so its peak memory is its own.

decode    DuckDB reads the embedding column and does nothing with it: the floor of everything that needs all vectors
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import clipsieve
from bench.machine import describe, installed, peak_memory_mb
from bench.synthetic import vectors, write_store
from query.connection import connect
from query.scoring.score_sets import read_sets, remove_set
from query.session import Session
from store.layout import EncoderStore
from store.prompts import add_prompts

MILLION = 1_000_000
RULES = ("people >= 0.5", "sunglasses >= 0.7", "mask >= 0.7")
TEXT = "a photo of a harbour at dusk"


@dataclass(frozen=True)
class Figure:
    """One line of the answer: seconds, those of its floor if it has one, and what was hoped for."""

    name: str
    seconds: float
    floor: str = ""
    floor_s: float = 0.0
    target: str = ""
    peak_mb: float = 0.0

    def line(self) -> str:
        """Return the figure as one line of a table."""
        ratio = f"{self.seconds / self.floor_s:.2f}" if self.floor_s else ""
        floor = f"{self.floor_s:.3f}" if self.floor_s else ""
        memory = f"{self.peak_mb:,.0f}"
        return f"{self.name:46}{self.seconds:10.3f}{floor:>10}  {self.floor:24}{ratio:>7}  {self.target:22}{memory:>8}"


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, nargs="+", default=[MILLION])
    words.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    words.add_argument("--folder", type=Path)
    words.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    words.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given, _ = words.parse_known_args()
    if given.measure:
        figures = MEASURES[given.measure](given.store)
        print(json.dumps([{**asdict(figure), "peak_mb": figure.peak_mb or peak_memory_mb()} for figure in figures]))
        return
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as scratch:
        for images in given.images:
            _measure_all(given.folder or Path(scratch), images, given.only)


def _measure_all(folder: Path, images: int, names: Iterable[str]) -> None:
    place = folder / f"{images}"
    if not place.exists():
        began = time.perf_counter()
        write_store(place, images)
        print(f"\nwritten in {time.perf_counter() - began:,.0f} s: {images:,} images")
    print(f"\n{images:,} images, seconds")
    print(f"{'':46}{'seconds':>10}{'floor':>10}  {'which floor':24}{'ratio':>7}  {'wanted':22}{'peak MB':>8}")
    for name in names:
        if images > MILLION and name in _OF_VECTORS:
            continue
        for figure in _in_a_process(name, place):
            print(figure.line(), flush=True)


def _in_a_process(name: str, place: Path) -> list[Figure]:
    command = [sys.executable, "-m", "bench.query", "--measure", name, "--store", str(place)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [Figure(**figure) for figure in json.loads(done.stdout.splitlines()[-1])]


def _measure_scores(place: Path) -> list[Figure]:
    """Score five concepts of one vector each, and five of twelve competing prompts each."""
    return [
        _score(place, "score five concepts, 5 vectors", "at most 3", ("mean", 1)),
        _score(place, "score five concepts, 60 competing", "at most 4", ("softmax", 6)),
    ]


def _score(place: Path, name: str, target: str, kind: tuple[str, int]) -> Figure:
    """Score an unscored twin of the store, again and again."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="twin-") as folder:
        session = _unscored_twin(place, Path(folder, "store"))
        concepts = _concepts(session.store, Path(folder, "concepts.toml"), *kind)
        seconds = _in_turn(lambda: _decode(session), lambda: session.score(concepts), 3, lambda: _forget(session))
    return Figure(name, seconds[1], "decode", seconds[0], target)


def _measure_search(place: Path) -> list[Figure]:
    session = _opened(place)
    add_prompts(session.store, [TEXT], _prompts(1, 9))
    decode, search = _in_turn(lambda: _decode(session), lambda: session.search(TEXT), 5)
    return [Figure("search by text, exact, top 20", search, "decode", decode, "at most 1.7")]


def _measure_warm(place: Path) -> list[Figure]:
    """Ask a session that has the scores in memory."""
    session = _opened(place)
    began = time.perf_counter()
    session.select(remove=RULES, nearest=0)
    first = time.perf_counter() - began
    with session._kept.now() as opened:  # noqa: SLF001  # the floor's table
        scan = "select count_if(people >= 0.5), count_if(sunglasses >= 0.7), count_if(mask >= 0.7) from held"
        one = "select count_if(people >= 0.5) from held"
        counted = _in_turn(lambda: opened.connection.execute(scan).fetchall(), lambda: _select(session), 9)
        swept = _in_turn(lambda: opened.connection.execute(one).fetchall(), lambda: session.sweep("people"), 9)
    grid = _best(lambda: session.sweep("people", across="mask"), 5)
    return [
        Figure("first question: opening, reading three scores", first),
        Figure("select, three rules, warm", counted[1], "three counts in SQL", counted[0], "at most 0.100 s"),
        Figure("sweep, 101 thresholds, warm", swept[1], "one count in SQL", swept[0], "at most 0.050 s"),
        Figure("sweep of two, 11 by 11, warm", grid),
    ]


def _measure_process(place: Path) -> list[Figure]:
    """Time whole processes; the floor is Python with the three libraries that every question needs."""
    sweep = [str(Path(sys.executable).with_name("clipsieve")), "sweep", str(place), "people"]
    bare = [sys.executable, "-c", "import duckdb, numpy, pyarrow"]
    floor, seconds = _in_turn(lambda: _run(bare), lambda: _run(sweep), 5)
    peak = max(_run(sweep) for _ in range(2))
    target = "under 1 s" if place.name == f"{MILLION}" else ""
    return [Figure("clipsieve sweep, a process of its own", seconds, "import of libraries", floor, target, peak)]


def _measure_export(place: Path) -> list[Figure]:
    """Write the CSV manifests of three rules; the floor is DuckDB's COPY of the same texts from one ready Parquet file.

    Everything a second time in seconds of CPU, which tell the same where other processes take turns on the cores.
    """
    session = _opened(place)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="run-") as folder:
        run, ready, copy = (Path(folder, name) for name in ("run", "ready.parquet", "copy.csv"))
        alone = _spent(lambda: session.export(str(run), remove=RULES, parquet=False, report=False))
        peak = peak_memory_mb()
        with connect(session.store.location) as connection:
            manifests = f"read_csv(['{run}/*/removed.csv', '{run}/*/kept.csv'], all_varchar = true)"
            connection.execute(f"copy (from {manifests}) to '{ready}' (format parquet)")
            floor = _spent(lambda: connection.read_parquet(str(ready)).write_csv(str(copy)))
        for name in (copy, ready):
            name.unlink()
        all_of_it = _spent(lambda: session.export(str(run), remove=RULES))
        session.close()
    name, copied = "export, three rules", "COPY, ready Parquet"
    return [
        Figure(f"{name}, CSV", alone.seconds, copied, floor.seconds, "at most 2", peak),
        Figure(f"{name}, CSV, CPU", alone.cpu_s, copied, floor.cpu_s, "at most 2", peak),
        Figure(f"{name}, CSV, Parquet, report", all_of_it.seconds, "CSV alone", alone.seconds),
        Figure(f"{name}, CSV, Parquet, report, CPU", all_of_it.cpu_s, "CSV alone", alone.cpu_s),
    ]


MEASURES: dict[str, Callable[[Path], list[Figure]]] = {
    "scores": _measure_scores,
    "search": _measure_search,
    "warm": _measure_warm,
    "process": _measure_process,
    "export": _measure_export,
}
_OF_VECTORS = {"scores", "search"}


def _opened(place: Path) -> Session:
    return clipsieve.open(str(place))


def _select(session: Session) -> object:
    return session.select(remove=RULES, nearest=0)


def _decode(session: Session) -> None:
    """Read every embedding and nothing else."""
    store = session.store
    with connect(store.location) as connection:
        rows = connection.read_parquet([store.location.duckdb_path(name) for name in store.parts("images")])
        rows.aggregate("sum(len(embedding))").fetchall()


def _unscored_twin(place: Path, twin: Path) -> Session:
    """Return a session over the same images, by hard links, without scores."""
    for path in place.rglob("*"):
        if path.is_file() and "scores" not in path.parts:
            target = twin / path.relative_to(place)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return _opened(twin)


def _concepts(store: EncoderStore, file: Path, pool: str, sides: int) -> str:
    """Write five concepts with so many prompts on either side, cache their vectors, and return the file's path."""
    texts = {
        (k, side): [f"{side} {k} {i}" for i in range(sides)] for k in range(5) for side in ("positive", "negative")
    }
    add_prompts(store, [text for some in texts.values() for text in some], _prompts(10 * sides, sides))
    tables = [f'[concept.c{k}]\npool = "{pool}"\n' for k in range(5)]
    for (k, side), some in texts.items():
        tables[k] += f"{side} = {json.dumps(some)}\n"
    file.write_text("\n".join(tables))
    return str(file)


def _prompts(rows: int, seed: int) -> "np.typing.NDArray[np.float32]":
    return vectors(np.random.default_rng(seed), rows).astype(np.float32)


def _forget(session: Session) -> None:
    for scored in read_sets(session.store):
        remove_set(session.store, scored)


def _in_turn(
    floor: Callable[[], object],
    figure: Callable[[], object],
    times: int,
    before: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Return the best time of each, taken in turn, so that whatever else the machine does troubles both alike."""
    floors, figures = [], []
    for _ in range(times):
        before()
        floors.append(_best(floor, 1))
        figures.append(_best(figure, 1))
    return min(floors), min(figures)


def _best(action: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


@dataclass(frozen=True)
class _Spent:
    seconds: float
    cpu_s: float  # of all threads


def _spent(action: Callable[[], object]) -> _Spent:
    began, worked = time.perf_counter(), time.process_time()
    action()
    return _Spent(time.perf_counter() - began, time.process_time() - worked)


def _run(command: Sequence[str]) -> float:
    """Run a process and return the most memory that it held, in MB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=installed()) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}.")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main()
