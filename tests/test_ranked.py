"""`neighbors` ranks the pairs by the usual order and keeps that; the usual question is then answered from it."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from query.duplicates.answering.ask import duplicates
from query.duplicates.answering.keepers import TIERS
from query.duplicates.answering.ranked import keep_ranked
from query.duplicates.sets import APPROXIMATE, read_neighbor_sets
from query.duplicates.words import MEMORY_BYTES, DuplicateWords
from query.kept import Kept
from query.opened import Opened
from store.errors import StoreDamaged
from store.layout import EncoderStore, Store, locate
from store.parts import parquet_bytes
from store.s3 import S3Options
from store.schema import RANKED_PAIRS
from store.verify import verify
from tests.neighboring import image, put_neighbors, store_of
from tests.servers import S3Server
from tests.stores import add_part, ask, files_of, list_source, listed
from tests.test_duplicates import Pairs, answered, graphs, star

FORGED = {"c": "b"}


def keep(store: EncoderStore, memory_bytes: int = MEMORY_BYTES) -> EncoderStore:
    """Keep the ranking of the set that answers first, as `clipsieve neighbors` does at its end."""
    with closing(Kept(store)) as kept, kept.now() as opened:
        keep_ranked(opened, read_neighbor_sets(store)[0], memory_bytes)
    return store.refreshed()


def forge(store: EncoderStore) -> None:
    """Let the ranking of a star say that c is a duplicate of b and nothing else is one: one sees who asks it."""
    (name,) = (name for name in store.parts("ranked") if "pairs" in name)
    rows = [{"better": 1, "worse": 2, "cosine": 0.97, "tier": TIERS.index("near-duplicate")}]
    store.location.write(name, parquet_bytes(pa.Table.from_pylist(rows, RANKED_PAIRS)))


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """A star whose ranking is kept."""
    return keep(star(tmp_path))


def everything(store: EncoderStore) -> list[Any]:
    """All that is said about duplicates in the usual words."""
    session = ask(store)
    found = [session.duplicates(at) for at in (0.9, 0.95, 0.995)]
    told = [(one.rows.to_pylist(), one.groups, one.tiers, one.images, one.removed, one.asked) for one in found]
    return [*told, session.duplicates_by_threshold().to_pylist()]


@settings(max_examples=5)
@given(graphs())
def test_the_answer_is_the_same(tmp_path_factory: pytest.TempPathFactory, graph: tuple[int, Pairs]) -> None:
    """With a ranking and without one the same goes, for the same partner, at every threshold; ties and copies too."""
    images, numbered = graph
    rows = [
        image(f"{k:02}", 600 + 10 * (k % 3), sha256=f"bytes of {k % 5}", pixels_sha256=f"pixels of {k % 4}")
        for k in range(images)
    ]
    pairs = {(f"{a:02}", f"{b:02}"): cosine for (a, b), cosine in numbered.items()}
    plain = store_of(tmp_path_factory.mktemp("stores") / "store", rows, pairs)
    answers = everything(plain)
    ranked = keep(plain)
    assert len(ranked.parts("ranked")) == 2
    assert everything(ranked) == answers


def test_images_that_are_close_to_none(tmp_path: Path) -> None:
    """Where few images are close to others, only these are ranked; the answer still counts all."""
    rows = [image(f"{k:02}", 600 + k, size_bytes=100 + k) for k in range(12)]
    plain = store_of(tmp_path, rows, {("03", "07"): 0.97})
    answers = everything(plain)
    assert answers[0][3] == 12
    assert everything(keep(plain)) == answers


def test_the_ranking_is_what_answers(store: EncoderStore) -> None:
    """The usual question is answered from the ranking, and any other from the pairs."""
    forge(store)
    session = ask(store)
    assert answered(session, 0.95) == FORGED
    assert [row["removed"] for row in session.duplicates_by_threshold([0.96, 0.98]).to_pylist()] == [1, 0]
    usual = {"b": "a", "c": "a"}
    for words in ({"where": "width_px > 0"}, {"never": "key = 'in/d'"}, {"within": "folder"}):
        assert answered(session, 0.95, **words) == usual
    assert answered(session, 0.95, keep_first_by="width_px desc") == usual


def test_listed_anew(store: EncoderStore) -> None:
    """Once the source was listed anew the pairs are asked, until they are ranked anew; the old ranking goes then."""
    forge(store)
    list_source(store, [listed(f"in/{name}") for name in "acd"], number=2)
    store = store.refreshed()
    assert answered(ask(store)) == {"c": "a"}
    ranked = keep(store)
    assert len(ranked.parts("ranked")) == 2
    assert not {*ranked.parts("ranked")} & {*store.parts("ranked")}
    assert answered(ask(ranked)) == {"c": "a"}


def test_each_set_has_its_ranking(store: EncoderStore) -> None:
    """Of several sets the one that answers is asked, whether another one is ranked or not."""
    forge(store)
    store = put_neighbors(store, {("a", "d"): 0.96}, floor=0.8)
    assert answered(ask(store)) == {"d": "a"}
    store = keep(store)
    assert {name.split("/")[1] for name in store.parts("ranked")} == {"exact-0.8", "exact-0.9"}
    assert answered(ask(store)) == {"d": "a"}


def test_what_was_not_compared_is_not_ranked(store: EncoderStore) -> None:
    """While a part lacks its pairs nothing is kept, and what was kept goes."""
    add_part(store, [image("e")], part=1)
    assert keep(store.refreshed()).parts("ranked") == []


def test_ranked_once(store: EncoderStore) -> None:
    """Where nothing has changed since, nothing is written."""
    forge(store)
    assert answered(ask(keep(store))) == FORGED


def test_crowds_are_not_ranked(tmp_path: Path) -> None:
    """The pairs of a crowd lie nowhere, so a set with crowds is asked itself."""
    rows = [image(name, 600 + k) for k, name in enumerate("abc")]
    assert keep(store_of(tmp_path, rows, {("a", "b"): 0.96}, {"c": "b"})).parts("ranked") == []


def test_no_more_than_memory_allows(tmp_path: Path) -> None:
    """What would take more memory than is allowed is not ranked: four images and four pairs, 100 bytes for each."""
    store = star(tmp_path)
    assert keep(store, 799).parts("ranked") == []
    assert len(keep(store, 800).parts("ranked")) == 2


def test_only_the_set_that_answers(tmp_path: Path) -> None:
    """An approximate set is ranked where it is the one that answers."""
    store = put_neighbors(star(tmp_path), {("a", "d"): 0.85}, method=APPROXIMATE, floor=0.8)
    with closing(Kept(store)) as kept, kept.now() as opened:
        keep_ranked(opened, read_neighbor_sets(store)[1], MEMORY_BYTES)
    store = store.refreshed()
    assert {name.split("/")[1] for name in store.parts("ranked")} == {"approximate-0.8"}
    assert answered(ask(store), 0.85) == {"d": "a"}
    assert answered(ask(store), 0.95) == {"b": "a", "c": "a"}


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
@pytest.mark.parametrize("place", ["disk", "S3"])
def test_another_process_ranks_anew(store: EncoderStore, tmp_path: Path, s3: S3Server, bucket: str, place: str) -> None:
    """Where a ranking goes between the listing of the store and the question, the pairs are asked, on S3 too."""
    forge(store)
    if place == "S3":
        for name, data in files_of(tmp_path / "store").items():
            s3.client().put_object(Bucket=bucket, Key=f"store/{name}", Body=data)
        store = Store.open(locate(f"s3://{bucket}/store", S3Options())).encoder()
    opened = Opened.open(store, None)
    with closing(opened.connection):
        assert duplicates(opened, DuplicateWords(0.95)).removed == len(FORGED)
    for name in store.parts("ranked"):
        store.location.remove(name)
    opened = Opened.open(store, None)  # as the store was listed before
    with closing(opened.connection):
        assert duplicates(opened, DuplicateWords(0.95)).removed == 2


def test_a_damaged_ranking_is_named(store: EncoderStore) -> None:
    """Damage is never taken for an answer: the error says so, `verify` names the file and what to do."""
    for name in store.parts("ranked"):
        store.location.write(name, os.urandom(100))
    with pytest.raises(StoreDamaged, match="clipsieve verify"):
        ask(store).duplicates(0.95)
    report = verify(store.refreshed())
    assert not report.sound
    assert len(report.unreadable) == 2
    assert all("ranked/" in said and "run `clipsieve neighbors` again" in said for said in report.unreadable)
