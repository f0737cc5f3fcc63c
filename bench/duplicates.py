"""What finding and asking duplicates costs, each figure beside FAISS's flat search and the floor, in one run.

    python -m bench.duplicates [--images 1_000_000] [--exact 100_000] [--folder FOLDER] [--only NAME …]

The stores are synthetic (`bench.spectra`, D = 512) and lie in a temporary folder, or in FOLDER, where they stay and are
used again. Every figure has a process of its own, so its peak memory is its own, and torch and FAISS never meet.

rate         float32 multiply-adds per second of this machine's matrix product: the floor of every figure
flat         `faiss.IndexFlatIP.range_search` of all against all, as one writes it
exact        `clipsieve neighbors --exact`, in several cosine spectra; its pairs against those of flat
growth       `clipsieve neighbors --approximate` from ten thousand images on
asking       `clipsieve duplicates --at` over a million stored pairs, a whole process, in the usual words and in others
changes      which changes of a picture are found (`bench.transformations`)
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.machine import describe, installed, peak_memory_mb
from bench.spectra import SPECTRA, Planted
from bench.synthetic import DIM, write_store
from query.duplicates.ids import ids_of, take
from query.duplicates.neighbors.find import find_neighbors
from query.duplicates.neighbors.libraries import load_faiss, workers
from query.duplicates.sets import APPROXIMATE, EXACT, NeighborSet, Round, recall_at, write_neighbor_set
from query.duplicates.words import NeighborWords
from query.scoring.score_sets import image_parts
from store.layout import EncoderStore, Store
from store.location import FolderLocation
from store.parts import parquet_bytes, read_part
from store.schema import NEIGHBORS, embedding_matrix

FLOOR = 0.90
AIMED_AT = 0.95
PAIRS = 1_000_000
LIBRARIES = "import duckdb, numpy, pyarrow"
COMMAND = [sys.executable, "-c", "from clipsieve import main; main()"]

Answer = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """The sizes that are measured, and where the stores lie."""

    folder: Path
    exact: int
    images: int

    def store(self, spectrum: str, images: int) -> Path:
        """Return a store of so many vectors of a spectrum, written where it is not there yet."""
        place = self.folder / f"{spectrum}-{images}"
        if not place.exists():
            began = time.perf_counter()
            write_store(place, images, seed=1, draw=Planted(SPECTRA[spectrum]))
            print(f"({place.name} written in {time.perf_counter() - began:.0f} s)")
        return place


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=1_000_000)
    words.add_argument("--exact", type=int, default=100_000)
    words.add_argument("--folder", type=Path)
    words.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    words.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    words.add_argument("--words", type=json.loads, default={}, help=argparse.SUPPRESS)
    given, _ = words.parse_known_args()
    if given.measure:
        print(json.dumps({**MEASURES[given.measure](**given.words), "peak_mb": peak_memory_mb()}))
        return
    print(describe())
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as scratch:
        sizes = Given(given.folder or Path(scratch), given.exact, given.images)
        known: Answer = {}
        for name, section in SECTIONS.items():
            if name in given.only:
                print(f"\n== {name}")
                section(sizes, known)


def _measured(measure: str, **words: object) -> Answer:
    """Take one figure in a process of its own."""
    command = [sys.executable, "-m", "bench.duplicates", "--measure", measure, "--words", json.dumps(words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


# Sections


def _rate(_sizes: Given, known: Answer) -> None:
    known["rate"] = _measured("rate")["rate"]
    print(f"{known['rate'] / 1e9:,.0f} thousand million multiply-adds a second, on all cores")


def _flat(sizes: Given, known: Answer) -> None:
    place = sizes.store("photos", sizes.exact)
    found = _measured("flat", place=str(place))
    known["flat_s"] = found["seconds"]
    floor = sizes.exact**2 * DIM / known["rate"] if "rate" in known else 0
    print(f"{sizes.exact:,} x {DIM}: {found['seconds']:,.1f} s; {_floors(floor, found['seconds'])}, {_memory(found)}")


def _exact(sizes: Given, known: Answer) -> None:
    for spectrum in SPECTRA:
        place = sizes.store(spectrum, sizes.exact)
        found = _measured("neighbors", place=str(place), method=EXACT)
        flat = _measured("flat", place=str(place), compare=True)
        floor = sizes.exact**2 / 2 * DIM / known["rate"] if "rate" in known else 0
        times = flat["seconds"] / found["seconds"]
        print(
            f"{spectrum:10} {found['seconds']:6.1f} s, flat {flat['seconds']:6.1f} s: {times:.1f} times as fast; "
            f"{_floors(floor, found['seconds'])} of a product of all pairs once; {_memory(found)}; "
            f"{found['pairs']:,} pairs, flat has {flat['missing']:,} that are not among them"
        )


def _growth(sizes: Given, known: Answer) -> None:
    flat = known.get("flat_s") or _measured("flat", place=str(sizes.store("photos", sizes.exact)))["seconds"]
    every = [(spectrum, images) for spectrum in SPECTRA for images in _steps(sizes.images)]
    for spectrum, images in every:
        if spectrum != "photos" and images != sizes.images:
            continue
        place = sizes.store(spectrum, images)
        floor = FLOOR if spectrum != "subjects" else AIMED_AT
        found = _measured("neighbors", place=str(place), method=APPROXIMATE, floor=floor)
        extrapolated = flat * (images / sizes.exact) ** 2
        recall = found["recall"]
        once = images**2 / 2 * DIM / known["rate"] if "rate" in known else 0
        print(
            f"{spectrum:10} {images:>9,} images, floor {floor:.2f}: {found['seconds']:7.1f} s, "
            f"{extrapolated / found['seconds']:5.0f} times as fast as flat (extrapolated: {extrapolated:,.0f} s), "
            f"{_floors(once, found['seconds'])} of a product of all pairs once; {_memory(found)}; "
            f"{found['pairs']:,} pairs; at {AIMED_AT} {recall['share']:.5f} of {recall['pairs']:,} "
            f"found, at least {recall['at_least']:.4f} with 95 % confidence"
        )


def _steps(images: int) -> list[int]:
    return [size for size in (10_000, 30_000, 100_000, 300_000) if size < images] + [images]


def _asking(sizes: Given, _known: Answer) -> None:
    place = sizes.store("photos", sizes.images)
    asked = sizes.folder / "asked"
    shutil.copytree(place, asked, copy_function=os.link, ignore=shutil.ignore_patterns("neighbors"))
    pairs = _measured("put_pairs", place=str(asked))["pairs"]
    print(f"{pairs:,} pairs of {sizes.images:,} images; each time the best of five, beside importing {LIBRARIES[7:]}")
    print(f"`neighbors`, which only ranks them: {_run([*COMMAND, 'neighbors', str(asked)]):.2f} s")
    for words in (["--at", "0.90"], ["--at", "0.95"], ["--at", "0.99"], ["--at", "0.95", "--never", "width_px < 0"]):
        taken = [
            (_run([*COMMAND, "duplicates", str(asked), *words]), _run([sys.executable, "-c", LIBRARIES]))
            for _ in range(5)
        ]
        seconds, libraries = (min(times) for times in zip(*taken, strict=True))
        print(f"{' '.join(words):35} {seconds:.2f} s; libraries {libraries:.2f} s")
    seconds = _run([*COMMAND, "duplicates", str(asked), "--sweep"])
    print(f"--sweep, eleven thresholds: {seconds:.2f} s")
    shutil.rmtree(asked)


def _changes(_sizes: Given, _known: Answer) -> None:
    subprocess.run([sys.executable, "-m", "bench.transformations"], check=True, cwd=Path(__file__).parents[1])


def _run(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=installed())
    return time.perf_counter() - began


def _floors(floor_s: float, seconds: float) -> str:
    return f"{seconds / floor_s:.2f} of the floor {floor_s:,.1f} s" if floor_s else "floor not measured"


def _memory(found: Answer) -> str:
    return f"peak {found['peak_mb']:,.0f} MB"


# Measures: each runs alone in its process.


def measure_rate() -> Answer:
    """Return float32 multiply-adds per second, one BLAS thread for each core."""
    size, rounds = 2048, 8
    with workers() as pool:
        cores = pool._max_workers  # noqa: SLF001  # nothing else says it
        matrices = [np.ones((size, size), np.float32) for _ in range(cores)]
        best = 0.0
        for _ in range(3):
            began = time.perf_counter()
            list(pool.map(lambda m: [m @ m for _ in range(rounds)], matrices))
            best = max(best, cores * rounds * size**3 / (time.perf_counter() - began))
    return {"rate": best}


def measure_flat(place: str, *, compare: bool = False) -> Answer:
    """Run FAISS's flat search; with `compare`, count its pairs that are not among those found before."""
    faiss = load_faiss()
    store = _open(place)
    tables = [read_part(store.location, name, ["image_id", "embedding"]) for name in store.parts("images")]
    vectors = np.concatenate([embedding_matrix(table["embedding"], DIM) for table in tables])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    began = time.perf_counter()
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    limits, cosines, others = index.range_search(vectors, FLOOR)
    answer: Answer = {"seconds": time.perf_counter() - began}
    if compare:
        ones = np.repeat(np.arange(len(vectors)), np.diff(limits).astype(np.int64))
        once = (ones < others) & (cosines >= FLOOR + 1e-6)
        ids = [image_id.bytes for table in tables for image_id in table["image_id"].to_pylist()]
        answer["missing"] = len(
            {_pair(ids[a], ids[b]) for a, b in zip(ones[once], others[once], strict=True)} - _found(store)
        )
    return answer


def measure_neighbors(place: str, method: str, floor: float = FLOOR) -> Answer:
    """Run the whole of `clipsieve neighbors` on a store without pairs, reading and writing included."""
    shutil.rmtree(Path(_open(place).location.uri, "neighbors"), ignore_errors=True)
    began = time.perf_counter()
    found = find_neighbors(_open(place), NeighborWords(floor, method))
    seconds = time.perf_counter() - began
    recall = recall_at(found.neighbors, AIMED_AT)
    measured = {"share": recall.share, "pairs": recall.pairs, "at_least": recall.at_least}
    return {"seconds": seconds, "pairs": found.pairs, "recall": measured}


def measure_put_pairs(place: str) -> Answer:
    """Write a million pairs between random images, as if they had been found."""
    store = _open(place)
    rng = np.random.default_rng(0)
    tables = [read_part(store.location, name, ["image_id"]) for name in store.parts("images")]
    ids = np.concatenate([ids_of(table["image_id"]) for table in tables])
    halves = ids.view(">u8").astype(np.uint64)
    ids = ids[np.lexsort((halves[:, 1], halves[:, 0]))]
    drawn = np.unique(np.sort(rng.integers(0, len(ids), (PAIRS * 2, 2)), axis=1), axis=0)
    drawn = drawn[drawn[:, 0] < drawn[:, 1]]
    drawn = drawn[np.sort(rng.permutation(len(drawn))[:PAIRS])]
    cosines = pa.array(rng.uniform(FLOOR, 1, len(drawn)), pa.float32())
    parts = tuple(image_parts(store))
    one = Round(Round.id_of((), parts), parts, images=len(ids), stripes=1)
    neighbors = write_neighbor_set(store, NeighborSet(f"exact-{FLOOR:g}", FLOOR, EXACT, (one,)))
    store.location.write(
        neighbors.file(one, 0),
        parquet_bytes(pa.table([take(ids, drawn[:, 0]), take(ids, drawn[:, 1]), cosines], schema=NEIGHBORS)),
    )
    return {"pairs": len(drawn)}


def _open(place: str) -> EncoderStore:
    return Store.open(FolderLocation(Path(place))).encoder()


def _pair(first: bytes, second: bytes) -> tuple[bytes, bytes]:
    return (first, second) if first < second else (second, first)


def _found(store: EncoderStore) -> set[tuple[bytes, bytes]]:
    pairs = set()
    for name in store.parts("neighbors"):
        with store.location.open(name) as file:
            table = pq.ParquetFile(file).read(use_threads=False)  # a thread that outlives Python would abort it
        columns = [[b for chunk in table[k].chunks for b in chunk.storage.to_pylist()] for k in (0, 1)]
        pairs.update(zip(*columns, strict=True))
    return pairs


SECTIONS: dict[str, Callable[[Given, Answer], None]] = {
    "rate": _rate,
    "flat": _flat,
    "exact": _exact,
    "growth": _growth,
    "asking": _asking,
    "changes": _changes,
}
MEASURES: dict[str, Callable[..., Answer]] = {
    "rate": measure_rate,
    "flat": measure_flat,
    "neighbors": measure_neighbors,
    "put_pairs": measure_put_pairs,
}

if __name__ == "__main__":
    main()
