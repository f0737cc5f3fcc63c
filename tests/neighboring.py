"""Stores of given vectors, their close pairs by brute force, and what runs where FAISS is loaded and torch never is.

Everything that looks for pairs runs in a process of its own, as it does for users: other tests load torch in this one.
"""

import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from query.duplicates.neighbors import cells, crowds, exact, sample, work
from query.duplicates.neighbors.bound import Bound
from query.duplicates.neighbors.compare import Comparison, Tile
from query.duplicates.neighbors.cosine import squared_lengths
from query.duplicates.neighbors.find import Found, find_neighbors
from query.duplicates.recall import Recall
from query.duplicates.sets import EXACT, NeighborSet, Round, read_neighbor_sets, write_neighbor_set
from query.duplicates.words import NeighborWords
from query.scoring.score_sets import image_parts
from store.errors import UsageError
from store.layout import EncoderStore, Store
from store.location import FolderLocation
from store.parts import parquet_bytes
from store.schema import CROWDS, NEIGHBORS, ImageRow
from tests.commands import typed
from tests.stores import ENCODER, NOON, add_part, embedded, list_source, listed, new_store

Half = npt.NDArray[np.float16]
Keys = frozenset[str]
Found_ = Mapping[Keys, float]  # the two keys of each pair, and its cosine


class Interrupted(Exception):
    """Raised where a user presses Ctrl-C."""


def unit_rows(vectors: npt.NDArray[np.floating]) -> Half:
    """Vectors as a store holds them: of length 1, in float16."""
    wide = np.asarray(vectors, np.float64)
    half: Half = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    return half


def clustered(images: int, dim: int = 32, seed: int = 0) -> Half:
    """Vectors near a common direction; every fourth is a near-duplicate of another, some are the same."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((images, dim)) * np.linspace(2, 0.2, dim)
    vectors[:, 0] += 3
    copies = images // 4
    vectors[:copies] = vectors[copies : 2 * copies] + rng.standard_normal((copies, dim)) * rng.uniform(
        0, 0.4, (copies, 1)
    )
    vectors[: copies // 8] = vectors[copies : copies + copies // 8]
    return unit_rows(vectors)


def key(number: int) -> str:
    """The key of an image."""
    return f"in/{number:05}.jpg"


def vector_store(folder: Path, vectors: Half, parts: Sequence[Sequence[int]] | None = None) -> EncoderStore:
    """A store of these vectors; `parts` are the numbers of the images in each part."""
    store = new_store(folder, replace(ENCODER, embedding_dim=vectors.shape[1]))
    objects = [listed(key(number)) for number in range(len(vectors))]
    list_source(store, objects)
    for part, numbers in enumerate(parts if parts is not None else [range(len(vectors))]):
        add_vectors(store, vectors, numbers, part)
    return store.refreshed()


def add_vectors(store: EncoderStore, vectors: Half, numbers: Sequence[int], part: int, run: int = 1) -> None:
    """Write one part with these images."""
    one = replace(embedded(listed(key(0))), thumbnail=None)
    rows = [replace(one, source_object=listed(key(k)), sha256=f"bytes of {k}", embedding=vectors[k]) for k in numbers]
    add_part(store, rows, part=part, number=run)


def brute_force(vectors: Half, floor: float) -> Found_:
    """Every pair whose cosine is the floor or more, to six decimals."""
    wide = vectors.astype(np.float64)
    squared = (wide * wide).sum(axis=1)
    cosines = np.round(wide @ wide.T / np.sqrt(squared[:, None] * squared), 6)
    return {
        frozenset([key(i), key(j)]): float(np.float32(cosines[i, j]))
        for i, j in zip(*np.nonzero(np.triu(cosines >= floor, 1)), strict=True)
    }


@cache
def _keys_by_id(images: int) -> Mapping[uuid.UUID, str]:
    """The keys of the first images by their ids."""
    return {listed(key(k)).image_id: key(k) for k in range(images)}


def pairs_of(store: EncoderStore) -> Found_:
    """Every pair in the files of the set that answers; each must stand there once, in the order of ids."""
    neighbors = read_neighbor_sets(store.refreshed())[0]
    names = _keys_by_id(100_000 if len(neighbors.parts) > 10 else 10_000)
    found: dict[Keys, float] = {}
    for file in neighbors.pair_files:
        with store.location.open(file) as opened:
            table = pq.read_table(opened)
        assert table.schema.equals(NEIGHBORS)
        for row in table.to_pylist():
            assert row["image_id"] < row["neighbor_id"]
            pair = frozenset([names[row["image_id"]], names[row["neighbor_id"]]])
            assert pair not in found
            found[pair] = row["cosine"]
    return found


def whole_pairs(store: EncoderStore) -> Found_:
    """Every pair that the files of the set that answers speak of, those of crowds included, each once."""
    store = store.refreshed()
    neighbors = read_neighbor_sets(store)[0]
    names = _keys_by_id(10_000)
    crowd_of: dict[str, str] = {}
    for file in neighbors.crowd_files:
        with store.location.open(file) as opened:
            table = pq.read_table(opened)
        assert table.schema.equals(CROWDS)
        for row in table.to_pylist():
            assert names[row["image_id"]] not in crowd_of
            crowd_of[names[row["image_id"]]] = names[row["member_of"]]
    assert len(crowd_of) == neighbors.members
    written = pairs_of(store)
    assert not any(crowd_of.keys() & pair for pair in written)
    images = {one: {one} for pair in written for one in pair} | {one: {one} for one in crowd_of.values()}
    for member, one in crowd_of.items():
        images[one].add(member)
    whole = {frozenset([a, b]): c for (x, y), c in map(_split, written.items()) for a in images[x] for b in images[y]}
    return whole | {frozenset([a, b]): 1.0 for one in images.values() for a in one for b in one if a < b}


def _split(pair: tuple[Keys, float]) -> tuple[tuple[str, str], float]:
    first, second = sorted(pair[0])
    return (first, second), pair[1]


def open_store(place: Path) -> EncoderStore:
    """The store at a folder."""
    return Store.open(FolderLocation(place)).encoder()


def put_neighbors(
    store: EncoderStore,
    pairs: Mapping[tuple[str, str], float],
    *,
    method: str = EXACT,
    floor: float = 0.9,
    crowds: Mapping[str, str] | None = None,
) -> EncoderStore:
    """Write a set of pairs by hand, as if all parts had been compared: `{("a.jpg", "b.jpg"): 0.96}`.

    `crowds` has the members of crowds, each with the image that was compared for it.
    """
    crowds = crowds or {}
    store = store.refreshed()
    parts = tuple(image_parts(store))
    recall = () if method == EXACT else (Recall(floor, 20, 19, 10, 9),)
    one = Round(Round.id_of((), parts), parts, images=len(parts), stripes=1, members=len(crowds), recall=recall)
    neighbors = write_neighbor_set(store, NeighborSet(f"{method}-{floor:g}", floor, method, (one,)))
    rows = []
    for (first, second), cosine in pairs.items():
        ids = sorted(listed(f"in/{name}").image_id for name in (first, second))
        rows.append({"image_id": ids[0].bytes, "neighbor_id": ids[1].bytes, "cosine": cosine})
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in NEIGHBORS]
    store.location.write(neighbors.file(one, 0), parquet_bytes(pa.table(columns, schema=NEIGHBORS)))
    if crowds:
        sides = [[listed(f"in/{name}").image_id.bytes for name in side] for side in (crowds, crowds.values())]
        table = pa.table([pa.array(side, pa.uuid()) for side in sides], schema=CROWDS)
        store.location.write(neighbors.crowd_file(one), parquet_bytes(table))
    return store.refreshed()


def image(name: str, width_px: int = 640, **facts: object) -> ImageRow:
    """An embedded image; `facts` are fields of its row, and size_bytes and minute (of last_modified)."""
    one = replace(
        listed(f"in/{name}", size_bytes=int(str(facts.pop("size_bytes", 1000)))),
        last_modified=NOON + timedelta(minutes=int(str(facts.pop("minute", 0)))),
    )
    row = embedded(one, width_px=width_px)
    return replace(row, **{"pixels_sha256": f"pixels of {name}", **facts})  # type: ignore[arg-type]  # fields by name


def store_of(
    folder: Path,
    rows: Sequence[ImageRow],
    pairs: Mapping[tuple[str, str], float] | None,
    crowds: Mapping[str, str] | None = None,
) -> EncoderStore:
    """A store of these images, and of these pairs and crowds where there are any."""
    store = new_store(folder)
    list_source(store, [row.source_object for row in rows])
    add_part(store, rows)
    return put_neighbors(store, pairs, crowds=crowds) if pairs is not None else store.refreshed()


# What follows runs in the other process.


def find(place: Path, floor: float = 0.9, method: str | None = None, **settings: int) -> Found:
    """Find the pairs of the store at a folder; `settings` are stripe, sample, crowd, and stop_after in calls."""
    _set(**settings)
    return find_neighbors(open_store(place), NeighborWords(floor, method), _stopper(settings.get("stop_after")))


def interrupted(place: Path, method: str, stop_after: int, stripe: int, crowd: int = 256) -> bool:
    """Find pairs until progress has been told so often; return whether that happened."""
    try:
        find(place, 0.9, method, stripe=stripe, stop_after=stop_after, crowd=crowd)
    except Interrupted:
        return True
    return False


def overlapped(place: Path, method: str, when: str, new: Half | None = None) -> Found:
    """Find pairs; when progress says this, another process finds them all, and those of a part that has come since."""
    _set(stripe=200)
    store, met = open_store(place), [0]

    def on_progress(what: str, _done: int, _every: int) -> None:
        met[0] += what == when
        if met[0] == 3 or (met[0] == 1 and when != "Comparing"):
            met[0] = 10
            if new is not None:
                add_vectors(store, new, range(len(new) // 2, len(new)), 1)
            find_neighbors(open_store(place), NeighborWords(0.9, method))

    return find_neighbors(store, NeighborWords(0.9, method), on_progress)


def compared(vectors: Half, floor: float, cut: int | None, below: int | None) -> list[tuple[int, int, float]]:
    """Compare vectors with themselves, with a bound of so many random directions or none."""
    full = vectors.astype(np.float32)
    squared = squared_lengths(full)
    basis = None
    if cut is not None:
        basis = np.linalg.qr(np.random.default_rng(cut).standard_normal((full.shape[1], cut)))[0]
    bound = Bound(basis)
    tile = Tile(bound.low(full / np.sqrt(squared)[:, None]), squared, full)
    pairs = Comparison(floor, bound, full.shape[1]).pairs(tile, tile, below=below)
    return sorted(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.cosine.tolist(), strict=True))


def run_command(*words: str) -> tuple[int, str, str, bool, bool]:
    """Run `clipsieve` with these words: exit code, stdout, stderr, and whether torch and FAISS are loaded now."""
    result = typed(*words)
    return result.exit_code, result.stdout, result.stderr, "torch" in sys.modules, "faiss" in sys.modules


def run_command_refusing(most: int, *words: str) -> tuple[int, str, str, bool, bool]:
    """The same where more pairs than so many are refused."""
    before, work.MOST_PAIRS = work.MOST_PAIRS, most
    try:
        return run_command(*words)
    finally:
        work.MOST_PAIRS = before


def guarded() -> str:
    """What is said where torch is loaded already."""
    sys.modules["torch"] = sys  # only its name is looked for
    try:
        Comparison(0.9, Bound(None), 32)
    except Exception as error:  # noqa: BLE001  # whatever it is, the test compares it
        return f"{type(error).__name__}: {error}"
    finally:
        del sys.modules["torch"]
    return "nothing"


def flooded(place: Path, most: int) -> str:
    """What is said where a store has more pairs than can be kept."""
    before, work.MOST_PAIRS = work.MOST_PAIRS, most
    try:
        find(place, 0.5)
    except UsageError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        work.MOST_PAIRS = before
    return "nothing"


def _set(stripe: int = 16_384, sample_images: int = 4096, crowd: int = 256, **_others: Any) -> None:
    vars(work)["STRIPE"] = exact.STRIPE = stripe  # it has the name from there
    crowds.CROWD = crowd
    sample.SAMPLE = sample_images
    cells.STRIPES = 8


def _stopper(after: int | None) -> Any:  # noqa: ANN401  # a callback
    told = [0]

    def on_progress(what: str, _done: int, _every: int) -> None:
        told[0] += what == "Comparing"
        if after is not None and told[0] > after:
            raise Interrupted

    return on_progress
