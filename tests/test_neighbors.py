"""Every close pair is found once and kept: exactly, or approximately with the recall measured, in any order."""

import math
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from query.duplicates.neighbors.bound import Bound, choose_bound, limit
from query.duplicates.neighbors.cosine import cosines, squared_lengths
from query.duplicates.neighbors.rows import Spool, widened
from query.duplicates.recall import Recall, lower_bound
from query.duplicates.sets import APPROXIMATE, EXACT, compared, described, read_neighbor_sets, recall_at
from query.duplicates.words import NeighborWords
from store.errors import NotCompared, UsageError
from tests import neighboring
from tests.neighboring import (
    Half,
    add_vectors,
    brute_force,
    clustered,
    key,
    open_store,
    pairs_of,
    unit_rows,
    vector_store,
)
from tests.stores import ask, files_of

Answer = TypeVar("Answer")
Elsewhere = Callable[..., Any]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Calls a function of tests/neighboring.py in a process that loads FAISS and never torch."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *args, **words: pool.submit(function, *args, **words).result()


def half_vectors(most: int = 40, dim: int = 8) -> st.SearchStrategy[Half]:
    """Directions of few whole numbers, so that ties, equal vectors and chains are frequent; noise on some."""
    whole = hnp.arrays(np.int8, st.tuples(st.integers(2, most), st.just(dim)), elements=st.integers(-2, 3))
    noise = st.integers(0, 2**32 - 1)
    return st.builds(_noisy, whole, noise)


def _noisy(whole: npt.NDArray[np.int8], seed: int) -> Half:
    rng = np.random.default_rng(seed)
    vectors = whole + rng.standard_normal(whole.shape) * rng.choice([0, 0, 0.05, 0.3], (len(whole), 1))
    vectors[~vectors.any(axis=1)] = 1
    return unit_rows(vectors)


# What a cosine is


def test_widening_changes_no_value() -> None:
    """Every finite float16 is the same number as float32, subnormal ones and both zeros included."""
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 32)
    found = widened(finite)
    assert np.array_equal(found, finite.astype(np.float32))
    assert np.array_equal(np.signbit(found), np.signbit(finite))


@given(half_vectors(most=12, dim=16), st.randoms())
def test_a_cosine_is_exact_whatever_the_order_of_summing(vectors: Half, dice: Random) -> None:
    """Turning the coordinates about changes no bit of a cosine, nor does exchanging the two vectors."""
    turned = list(range(vectors.shape[1]))
    dice.shuffle(turned)
    full, other = vectors.astype(np.float32), vectors[:, turned].astype(np.float32)
    first, second = np.triu_indices(len(vectors))
    squared, again = squared_lengths(full), squared_lengths(other)
    assert np.array_equal(squared, again)
    found = cosines((full, first, squared[first]), (full, second, squared[second]))
    mirrored = cosines((other, second, again[second]), (other, first, again[first]))
    assert np.array_equal(found, mirrored)
    exact = [
        math.fsum(map(float, a * b)) for a, b in zip(full[first].astype(float), full[second].astype(float), strict=True)
    ]
    assert np.array_equal(found, np.round(np.array(exact) / np.sqrt(squared[first] * squared[second]), 6))


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 512, 1024]))
def test_roundings_of_one_vector_are_at_one(seed: int, dim: int) -> None:
    """However float16 has rounded each coordinate, up or down, a vector and itself are at 1.000000."""
    rng = np.random.default_rng(seed)
    exact = rng.standard_normal(dim)
    exact /= np.linalg.norm(exact)
    near = exact.astype(np.float16)
    down = np.where(near > exact, np.nextafter(near, np.float16(-2)), near)
    up = np.where(near < exact, np.nextafter(near, np.float16(2)), near)
    both = np.stack([down, up]).astype(np.float32)
    squared = squared_lengths(both)
    first, second = np.array([0]), np.array([1])
    assert cosines((both, first, squared[first]), (both, second, squared[second])) == [1.0]


# The bound


@given(half_vectors(dim=16), st.integers(1, 16), st.floats(0.1, 1))
def test_the_bound_loses_no_pair(vectors: Half, cut: int, floor: float) -> None:
    """In any orthonormal basis, cut anywhere, the bound reaches the limit wherever the cosine reaches the floor."""
    full = vectors.astype(np.float32)
    squared = squared_lengths(full)
    basis = np.linalg.qr(np.random.default_rng(cut).standard_normal((16, cut)))[0]
    first, second = np.triu_indices(len(vectors))
    close = cosines((full, first, squared[first]), (full, second, squared[second])) >= floor
    low = Bound(basis).low(full / np.sqrt(squared)[:, None])
    bounds = (low @ low.T)[first, second]
    assert (bounds[close] >= limit(floor, cut + 1)).all()


def test_the_bound_follows_the_vectors() -> None:
    """Few directions bound where these hold most of the vectors; where no few do, the bound is the cosine itself."""
    rng = np.random.default_rng(0)
    few, alike = rng.standard_normal((2, 1000, 128)) * np.stack([np.geomspace(1, 0.001, 128), np.ones(128)])[:, None]
    units = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (few, alike))
    few_columns, all_columns = (choose_bound(rows, 0.3).columns(128) for rows in units)
    assert few_columns < 100
    assert all_columns == 128


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(vectors=half_vectors(), floor=st.sampled_from([0.5, 0.9, 1.0]), cut=st.sampled_from([None, 1, 3, 8]))
def test_comparing_finds_every_pair(elsewhere: Elsewhere, vectors: Half, floor: float, cut: int | None) -> None:
    """Two blocks give the pairs of brute force, with any bound; of one sequence each pair once."""
    want = {(key(i), key(j)) for i in range(len(vectors)) for j in range(i)}
    expected = brute_force(vectors, floor)
    once = elsewhere(neighboring.compared, vectors, floor, cut, 0)
    assert {frozenset([key(i), key(j)]): float(np.float32(c)) for i, j, c in once} == expected
    assert {(key(i), key(j)) for i, j, _ in once} <= want
    assert len(once) == len(expected)
    twice = elsewhere(neighboring.compared, vectors, floor, cut, None)
    assert len(twice) == 2 * len(expected) + len(vectors)


# Exact


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    vectors=half_vectors(),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    order=st.randoms(),
    stripe=st.sampled_from([4, 7, 64]),
    floor=st.sampled_from([0.9, 0.95, 1.0]),
)
def test_exactly_every_pair(  # noqa: PLR0917  # what hypothesis draws
    elsewhere: Elsewhere,
    tmp_path_factory: pytest.TempPathFactory,
    vectors: Half,
    cuts: list[int],
    order: Random,
    stripe: int,
    floor: float,
) -> None:
    """However images are ordered, cut into parts and added, the pairs are those of brute force, equality included."""
    numbers = list(range(len(vectors)))
    order.shuffle(numbers)
    bounds = [0, *sorted(min(cut, len(numbers)) for cut in cuts), len(numbers)]
    parts = [numbers[start:stop] for start, stop in pairwise(bounds)]
    place = tmp_path_factory.mktemp("exact") / "store"
    store = vector_store(place, vectors, parts[:-1])
    elsewhere(neighboring.find, place, floor, stripe=stripe)
    add_vectors(store, vectors, parts[-1], len(parts))
    found = elsewhere(neighboring.find, place, floor, stripe=stripe)
    assert pairs_of(store) == brute_force(vectors, floor)
    assert (found.new_images, found.pairs) == (len(parts[-1]), len(brute_force(vectors, floor)))


def test_a_larger_store(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Over several tiles and blocks, with a bound that decides most pairs, none is missing."""
    vectors = clustered(3000, 64)
    store = vector_store(tmp_path, vectors, [range(1900), range(1900, 3000)])
    elsewhere(neighboring.find, tmp_path, 0.9, EXACT, stripe=1000)
    assert pairs_of(store) == brute_force(vectors, 0.9)


def test_nothing_new_changes_nothing(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Run again, it compares nothing and changes no byte; the files are the same whenever they are made."""
    store = vector_store(tmp_path / "a", clustered(300))
    first = elsewhere(neighboring.find, tmp_path / "a")
    files = files_of(tmp_path / "a")
    again = elsewhere(neighboring.find, tmp_path / "a")
    assert (again.new_images, again.new_pairs, again.pairs) == (0, 0, first.pairs)
    assert files_of(tmp_path / "a") == files
    vector_store(tmp_path / "b", clustered(300))
    elsewhere(neighboring.find, tmp_path / "b")
    parquet = {name: data for name, data in files.items() if "neighbors" in name and name.endswith(".parquet")}
    assert parquet
    assert parquet.items() <= files_of(tmp_path / "b").items()
    assert ask(store.refreshed()).verify().sound


def test_an_image_in_two_parts_counts_once(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Two jobs that overlapped have both embedded an image: it is compared once, also when one part comes later."""
    vectors = clustered(60)
    store = vector_store(tmp_path, vectors, [range(40)])
    add_vectors(store, vectors, range(30, 50), 0, run=2)
    elsewhere(neighboring.find, tmp_path)
    add_vectors(store, vectors, range(45, 60), 0, run=3)
    elsewhere(neighboring.find, tmp_path)
    assert pairs_of(store) == brute_force(vectors, 0.9)
    assert ask(store.refreshed()).verify().sound


@pytest.mark.parametrize("method", [EXACT, APPROXIMATE])
def test_interrupted_it_goes_on(elsewhere: Elsewhere, tmp_path: Path, method: str) -> None:
    """Stopped at any stripe, the files that are there stay, and the next run writes the others alone."""
    vectors = clustered(1200)
    undisturbed = vector_store(tmp_path / "undisturbed", vectors)
    elsewhere(neighboring.find, tmp_path / "undisturbed", 0.9, method, stripe=200)
    place = tmp_path / "store"
    store = vector_store(place, vectors)
    written: dict[str, float] = {}
    stops = 0
    # What is there already is told as progress too, so each time it is stopped a little later.
    while elsewhere(neighboring.interrupted, place, method, 5 * (stops + 1), 200):
        stops += 1
        assert stops < 20, "it never gets any further"
        now = {path.name: path.stat().st_mtime_ns for path in place.rglob("neighbors/*/*.parquet")}
        assert written.items() <= now.items()
        written = dict(now)
        with pytest.raises(NotCompared):
            compared(store.refreshed(), 0.95)
    assert stops > 1
    assert pairs_of(store) == pairs_of(undisturbed)
    assert compared(store.refreshed(), 0.95).images == len(vectors)


@pytest.mark.parametrize(
    ("method", "when"), [(EXACT, "Comparing"), (APPROXIMATE, "Laying out cells"), (APPROXIMATE, "Comparing")]
)
def test_two_at_once(elsewhere: Elsewhere, tmp_path: Path, method: str, when: str) -> None:
    """Two processes that look for the same pairs write the same files, so both succeed, and every pair stands once."""
    vectors = clustered(1000)
    undisturbed = vector_store(tmp_path / "undisturbed", vectors)
    alone = elsewhere(neighboring.find, tmp_path / "undisturbed", 0.9, method, stripe=200)
    store = vector_store(tmp_path / "store", vectors)
    found = elsewhere(neighboring.overlapped, tmp_path / "store", method, when)
    assert pairs_of(store) == pairs_of(undisturbed)
    assert found.pairs == alone.pairs
    assert len(read_neighbor_sets(store.refreshed())) == 1


def test_another_process_that_found_more(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """What another process has compared beyond one's own parts stays, and the answer knows of it."""
    vectors = clustered(1200)
    store = vector_store(tmp_path, vectors, [range(600)])
    found = elsewhere(neighboring.overlapped, tmp_path, EXACT, "Comparing", vectors)
    assert pairs_of(store) == brute_force(vectors, 0.9)
    assert found.neighbors.images == len(vectors)
    assert compared(store.refreshed(), 0.95).images == len(vectors)


def test_parts_that_came_while_it_was_interrupted(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """An interrupted round is finished first, then what came since is compared with all."""
    vectors = clustered(900)
    store = vector_store(tmp_path, vectors, [range(600)])
    assert elsewhere(neighboring.interrupted, tmp_path, EXACT, 2, 100)
    add_vectors(store, vectors, range(600, 900), 1)
    elsewhere(neighboring.find, tmp_path, stripe=100)
    assert pairs_of(store) == brute_force(vectors, 0.9)
    assert len(read_neighbor_sets(store.refreshed())[0].rounds) == 2


def test_a_part_that_was_removed_meanwhile(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A round that was interrupted over a part that is gone is given up, and leaves no file."""
    vectors = clustered(400)
    store = vector_store(tmp_path, vectors, [range(200), range(200, 400)])
    assert elsewhere(neighboring.interrupted, tmp_path, EXACT, 2, 50)
    store.location.remove(store.parts("images")[1])
    elsewhere(neighboring.find, tmp_path, stripe=50)
    assert pairs_of(store) == brute_force(vectors[:200], 0.9)
    neighbors = read_neighbor_sets(store.refreshed())[0]
    assert set(store.refreshed().parts("neighbors")) == set(neighbors.pair_files)


def test_a_lower_floor_takes_the_place_of_a_higher_one(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A set that another one says as much as is removed; a set of a lower floor stays beside a higher one."""
    store = vector_store(tmp_path, clustered(200))
    elsewhere(neighboring.find, tmp_path, 0.95)
    elsewhere(neighboring.find, tmp_path, 0.9)
    assert [one.floor for one in read_neighbor_sets(store.refreshed())] == [0.9]
    elsewhere(neighboring.find, tmp_path, 0.95)
    assert [one.floor for one in read_neighbor_sets(store.refreshed())] == [0.9, 0.95]


def test_nothing_to_compare(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A store without images, or with one, has no pairs and says so."""
    vectors = clustered(8)
    store = vector_store(tmp_path / "none", vectors, [])
    assert elsewhere(neighboring.find, tmp_path / "none").pairs == 0
    add_vectors(store, vectors, [0], 0)
    assert elsewhere(neighboring.find, tmp_path / "none").pairs == 0
    assert elsewhere(neighboring.find, tmp_path / "none", 0.9, APPROXIMATE).pairs == 0
    assert compared(store.refreshed(), 0.9).images == 1


# Approximate


def test_the_recall_is_what_was_found(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """What is found is true, and the stated recall is that of the sample's pairs in the files."""
    vectors = clustered(3000, 64)
    store = vector_store(tmp_path, vectors)
    elsewhere(neighboring.find, tmp_path, 0.9, APPROXIMATE, sample_images=1500)
    found, want = pairs_of(store), brute_force(vectors, 0.9)
    assert found.items() <= want.items()
    recall = recall_at(compared(store.refreshed(), 0.9), 0.9)
    assert recall.pairs > 100
    assert recall.found <= recall.pairs
    # Half of the images are the sample, so a pair is counted by either of its images that is in it.
    missed = len(want) - len(found)
    assert recall.pairs - recall.found <= 2 * missed
    assert len(found) / len(want) > 0.99
    assert (recall.at_least < recall.share) or recall.share == 0


def test_the_cells_are_kept(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Parts that come later are sorted into the same cells, and every pair stands once, whoever has found it."""
    vectors = clustered(2400, 64)
    store = vector_store(tmp_path, vectors, [range(1400), range(1400, 1500)])
    elsewhere(neighboring.find, tmp_path, 0.9, APPROXIMATE)
    cells = {name: data for name, data in files_of(tmp_path).items() if name.endswith("cells.npz")}
    add_vectors(store, vectors, range(1500, 2400), 2)
    elsewhere(neighboring.find, tmp_path, 0.9, APPROXIMATE)
    assert {name: data for name, data in files_of(tmp_path).items() if name.endswith("cells.npz")} == cells
    neighbors = compared(store.refreshed(), 0.9)
    assert [one.images for one in neighbors.rounds] == [1500, 900]
    found, want = pairs_of(store), brute_force(vectors, 0.9)
    assert found.items() <= want.items()
    assert len(found) / len(want) > 0.98
    assert "found approximately: " in described(neighbors, 0.95)


def test_identical_vectors_are_found_in_any_cells(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Images with the very same embedding always share a cell."""
    some = clustered(500, 64, seed=3)
    vectors = np.concatenate([some, some[::-1]])
    store = vector_store(tmp_path, vectors)
    elsewhere(neighboring.find, tmp_path, 0.9, APPROXIMATE)
    same = {pair for pair, cosine in brute_force(vectors, 1.0).items() if cosine == 1.0}
    assert len(same) >= 500
    assert same <= pairs_of(store).keys()


def test_exact_pairs_answer_first(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Where a store has both, the exact set answers, and it takes the place of the approximate one."""
    store = vector_store(tmp_path, clustered(600))
    elsewhere(neighboring.find, tmp_path, 0.9, APPROXIMATE)
    assert compared(store.refreshed(), 0.9).method == APPROXIMATE
    elsewhere(neighboring.find, tmp_path, 0.9, EXACT)
    assert [one.method for one in read_neighbor_sets(store.refreshed())] == [EXACT]
    assert described(compared(store.refreshed(), 0.9), 0.9) == "found exactly: none is missing"


@pytest.mark.parametrize(("found", "drawn"), [(1, 1), (5, 10), (10, 10), (95, 100), (999, 1000), (4000, 4001)])
def test_the_lower_bound_is_that_of_clopper_and_pearson(found: int, drawn: int) -> None:
    """At the bound, so many finds or more would have a chance of five percent."""
    share = lower_bound(found, drawn)
    chance = math.fsum(math.comb(drawn, k) * share**k * (1 - share) ** (drawn - k) for k in range(found, drawn + 1))
    assert chance == pytest.approx(0.05, rel=1e-6)
    assert lower_bound(0, drawn) == 0


def test_recalls_add_up() -> None:
    """The rounds of a set are one sample."""
    assert Recall(0.9, 10, 9, 5, 4) + Recall(0.9, 20, 20, 6, 6) == Recall(0.9, 30, 29, 11, 10)
    assert Recall(0.9, 30, 29, 11, 10).share == 29 / 30


# The command


def test_the_command(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """`clipsieve neighbors` says how many pairs there are and how they were found; torch is never loaded."""
    vectors = clustered(300)
    vector_store(tmp_path, vectors)
    code, said, _, torch, faiss = elsewhere(neighboring.run_command, "neighbors", str(tmp_path), "--floor", "0.95")
    pairs = len(brute_force(vectors, 0.95))
    assert (code, torch, faiss) == (0, False, True)
    assert said.startswith(f"300 images compared: {pairs:,} pairs of 300 images are at a cosine of 0.95 or more.")
    assert "found exactly" in said
    _, said, _, _, _ = elsewhere(neighboring.run_command, "neighbors", str(tmp_path), "--floor", "0.95")
    assert said.startswith("Nothing was missing: ")
    assert len(open_store(tmp_path).parts("ranked")) == 2, "and kept as the usual ranking has them"
    words = ("neighbors", str(tmp_path), "--approximate", "--memory", "800MB")
    _, said, _, _, _ = elsewhere(neighboring.run_command, *words)
    assert "found approximately" in said
    assert "at least, 95% sure" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--floor", "1.5"], "A floor of 1.5 is no cosine"),
        (["--floor", "0"], "A floor of 0 is no cosine"),
        (["--memory", "10MB"], "Give --memory at least 600MB."),
        (["--memory", "plenty"], "'plenty' is no size; write 2GB or 800MB."),
    ],
)
def test_wrong_words(elsewhere: Elsewhere, tmp_path: Path, words: list[str], message: str) -> None:
    """What cannot be found is refused before anything is read, with what to write instead."""
    vector_store(tmp_path, clustered(8))
    code, said, complained, _, _ = elsewhere(neighboring.run_command, "neighbors", str(tmp_path), *words)
    assert (code, said) == (2, "")
    assert message in complained


def test_torch_and_faiss_never_meet(elsewhere: Elsewhere) -> None:
    """Where torch is loaded, FAISS is not, and the error says what to do."""
    said = elsewhere(neighboring.guarded)
    assert said.startswith("UsageError: torch is loaded in this process")
    assert "Run `clipsieve neighbors STORE`" in said


def test_a_flood_of_pairs_is_refused(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Where nearly all images are close, a floor that would keep them is refused, with one that would not."""
    vectors = clustered(400)
    vector_store(tmp_path, vectors)
    said = elsewhere(neighboring.flooded, tmp_path, 2000)
    assert said.startswith("UsageError: About ")
    assert "--floor 0." in said
    assert " are at 1 all the same: " in elsewhere(neighboring.flooded, tmp_path, 1)
    assert not list(tmp_path.rglob("neighbors/*/*.parquet"))


def test_a_spool_on_disk_holds_what_it_is_given() -> None:
    """Where memory is short, rows lie in a file that has no name, and come back as they were."""
    spool = Spool(1000, 64, np.float16, on_disk=True)
    rows = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float16)
    spool.matrix[:] = rows
    for _ in range(3):
        spool.touched(10**6)  # so much that the pages are given back
        assert np.array_equal(spool.take(np.array([999, 0, 5])), rows[[999, 0, 5]])
        assert np.array_equal(spool.take(slice(10, 20)), rows[10:20])
    assert spool.memory_bytes == 0


def test_words_are_checked() -> None:
    """A floor outside 0 to 1 and too little memory are wrong words."""
    with pytest.raises(UsageError, match="is no cosine"):
        NeighborWords(floor=-0.5)
    with pytest.raises(UsageError, match="too few"):
        NeighborWords(memory_bytes=1)
