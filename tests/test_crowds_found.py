"""Of a crowd one image is compared, and the others are noted: exactly, by cells, in rounds, and after a kill."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from query.duplicates.sets import APPROXIMATE, EXACT, compared, read_neighbor_sets
from store.errors import NotCompared
from store.layout import EncoderStore
from tests import neighboring
from tests.neighboring import (
    Half,
    add_vectors,
    brute_force,
    clustered,
    key,
    open_store,
    unit_rows,
    vector_store,
    whole_pairs,
)
from tests.stores import ask, files_of
from tests.test_neighbors import Elsewhere, half_vectors


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Calls a function of tests/neighboring.py in a process that loads FAISS and never torch."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *args, **words: pool.submit(function, *args, **words).result()


def copied(draw: st.DrawFn, most: int = 40) -> Half:
    """Few vectors, each many times."""
    few = draw(half_vectors(most=6))
    return few[draw(st.lists(st.integers(0, len(few) - 1), min_size=2, max_size=most))]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    vectors=st.composite(copied)(),
    cuts=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    order=st.randoms(),
    stripe=st.sampled_from([4, 64]),
    method=st.sampled_from([EXACT, APPROXIMATE]),
)
def test_every_pair_once_however_parts_come(  # noqa: PLR0917  # what hypothesis draws
    elsewhere: Elsewhere,
    tmp_path_factory: pytest.TempPathFactory,
    vectors: Half,
    cuts: list[int],
    order: Random,
    stripe: int,
    method: str,
) -> None:
    """Pairs and crowds together are those of brute force, whichever round an image came in; no member is in a pair."""
    numbers = list(range(len(vectors)))
    order.shuffle(numbers)
    bounds = [0, *sorted(min(cut, len(numbers)) for cut in cuts), len(numbers)]
    place = tmp_path_factory.mktemp("crowds") / "store"
    store = vector_store(place, vectors, [])
    for part, (start, stop) in enumerate(pairwise(bounds)):
        add_vectors(store, vectors, numbers[start:stop], part)
        elsewhere(neighboring.find, place, 0.9, method, stripe=stripe, crowd=3)
    found, every = whole_pairs(store), brute_force(vectors, 0.9)
    assert found == every if method == EXACT else found.items() <= every.items()
    assert {pair for pair, cosine in every.items() if cosine == 1.0} <= found.keys()
    assert read_neighbor_sets(store.refreshed())[0].images == len(vectors)


def crowd_sizes(store: EncoderStore) -> list[int]:
    """How many members each round has noted."""
    return [one.members for one in read_neighbor_sets(store.refreshed())[0].rounds]


def test_a_group_that_grows_into_a_crowd(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """What was compared before stays a row with its pairs; what comes when the group is a crowd is a member of it."""
    vectors = np.repeat(clustered(2), 8, axis=0)
    store = vector_store(tmp_path, vectors, [[0, 1, 8], [2, 9, 10], [3, 4, 11]])
    for part, numbers in enumerate([[0, 1, 8], [2, 9, 10], [3, 4, 11], [5], [12]]):
        if part > 2:
            add_vectors(store, vectors, numbers, part)
        elsewhere(neighboring.find, tmp_path, 0.9, EXACT, crowd=4 if part < 3 else 10)
    # The first three parts are one round: five images of one vector, four of the other.
    assert crowd_sizes(store) == [4, 1, 0]
    listed_ones = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12]
    wanted = {pair: c for pair, c in brute_force(vectors, 0.9).items() if pair <= {key(k) for k in listed_ones}}
    assert whole_pairs(store) == wanted
    assert files_without_pairs(store) == []


def files_without_pairs(store: EncoderStore) -> list[str]:
    """Files of crowds that no complete round speaks of."""
    named = {name for one in read_neighbor_sets(store.refreshed()) for name in one.crowd_files}
    return sorted(set(store.refreshed().parts("crowds")) - named)


def test_the_one_that_was_compared_is_gone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Where its part was removed, a member stands in for it: what comes later has its pairs with the whole crowd."""
    vectors = np.repeat(clustered(2), 10, axis=0)
    vectors[10:] = unit_rows(vectors[:1].astype(np.float64) + 0.01)
    store = vector_store(tmp_path, vectors, [[0, 1], [2, 3, 4, 5]])
    elsewhere(neighboring.find, tmp_path, 0.9, EXACT, crowd=3)
    assert crowd_sizes(store) == [5]
    store.location.remove(store.parts("images")[0])
    add_vectors(store, vectors, [6, 10], 2)
    elsewhere(neighboring.find, tmp_path, 0.9, EXACT, crowd=3)
    assert crowd_sizes(store) == [5, 1]
    wanted = {frozenset([key(6), key(10)]), frozenset([key(2), key(10)]), frozenset([key(2), key(6)])}
    assert wanted <= whole_pairs(store).keys()


@pytest.mark.parametrize("method", [EXACT, APPROXIMATE])
def test_killed_between_crowds_and_pairs(elsewhere: Elsewhere, tmp_path: Path, method: str) -> None:
    """Without the pairs of its round no file of crowds answers; the next run goes on, to the same files."""
    vectors = np.concatenate([clustered(30), np.repeat(clustered(3, seed=1), 10, axis=0)])
    undisturbed = vector_store(tmp_path / "undisturbed", vectors)
    elsewhere(neighboring.find, tmp_path / "undisturbed", 0.9, method, stripe=20, crowd=3)
    store = vector_store(tmp_path / "store", vectors)
    assert elsewhere(neighboring.interrupted, tmp_path / "store", method, 0, 20, 3)
    (crowd,) = store.refreshed().parts("crowds")
    with pytest.raises(NotCompared):
        compared(store.refreshed(), 0.95)
    elsewhere(neighboring.find, tmp_path / "store", 0.9, method, stripe=20, crowd=3)
    ours, theirs = files_of(tmp_path / "store"), files_of(tmp_path / "undisturbed")
    assert [name for name in ours if name.endswith(".parquet")] == [
        name for name in theirs if name.endswith(".parquet")
    ]
    assert all(ours[name] == data for name, data in theirs.items() if "/neighbors/" in name and "set.json" not in name)
    store.location.remove(crowd)
    with pytest.raises(NotCompared):
        compared(store.refreshed(), 0.95)
    elsewhere(neighboring.find, tmp_path / "store", 0.9, method, stripe=20, crowd=3)
    assert files_of(tmp_path / "store").keys() == ours.keys()
    assert whole_pairs(store) == whole_pairs(undisturbed)


def test_seven_thousand_copies_of_a_placeholder(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Where all their pairs would be refused, pairs are found, and one copy stays; the others are its duplicates."""
    some = clustered(40, 8)
    copies, most = 7_000, 20_000_000
    assert copies * (copies - 1) // 2 > most
    vectors = np.concatenate([some, np.repeat(unit_rows(-np.ones((1, 8))), copies, axis=0)])
    vector_store(tmp_path, vectors)
    words = ("neighbors", str(tmp_path), "--exact")
    code, said, complained, _, _ = elsewhere(neighboring.run_command_refusing, most, *words)
    assert code == 0, complained
    pairs = len(brute_force(some, 0.9))
    assert said.startswith(f"7,040 images compared: {pairs:,} pairs of 7,040 images are at a cosine of 0.9 or more.")
    assert "6,999 images have exactly the embedding of another one" in said
    with closing(ask(open_store(tmp_path))) as session:
        found = session.duplicates(0.95, at_most=1)
        (swept,) = session.duplicates_by_threshold([0.95]).to_pylist()
        counted = session.sql("select count(*) as n from crowds").to_pylist()
    assert found.removed == swept["removed"] >= copies - 1
    assert swept["largest_group"] == swept["largest_chain"] == copies
    assert swept["pairs"] == len(brute_force(some, 0.95)) + copies * (copies - 1) // 2
    assert counted == [{"n": copies - 1}]
