"""Duplicates are asked of pairs: each has a partner that stays, nothing is chained, and the ranking decides."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.duplicates.answering.keepers import Edges, components, removed
from query.duplicates.sets import APPROXIMATE
from query.session import Session
from store.errors import NotCompared, QueryRefused, UnknownName, UsageError
from store.layout import EncoderStore
from tests.commands import typed
from tests.neighboring import image, open_store, put_neighbors, store_of
from tests.stores import add_part, ask, broken, list_source, listed, new_store, put_scores

Pairs = Mapping[tuple[int, int], float]


# The rule, on numbers


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Pairs]:
    """Ranked images and pairs of them, the better one first; cosines of few values, so that ties are frequent."""
    images = draw(st.integers(1, 24))
    places = st.integers(0, images - 1)
    cosines = st.sampled_from([0.9, 0.91, 0.95, 0.99, 1.0])
    drawn = draw(st.lists(st.tuples(places, places, cosines), max_size=60))
    return images, {(min(a, b), max(a, b)): cosine for a, b, cosine in drawn if a != b}


def edges_of(pairs: Pairs) -> Edges:
    """Pairs as the query gives them: in any order."""
    places = np.array([*pairs], np.int32).reshape(-1, 2)
    tiers = places[:, 0].astype(np.int8) % 3
    return Edges.of(places[:, 0], places[:, 1], np.array([*pairs.values()], np.float32), tiers)


def walked(images: int, pairs: Pairs) -> dict[int, tuple[int, float]]:
    """What is removed, by the rule as one says it: down the ranking, kept unless one that is kept is close."""
    kept: list[int] = []
    gone = {}
    for place in range(images):
        close = [(-pairs[better, place], better) for better in kept if (better, place) in pairs]
        if close:
            cosine, partner = min(close)
            gone[place] = (partner, -cosine)
        else:
            kept.append(place)
    return gone


@given(graphs())
def test_the_rule(graph: tuple[int, Pairs]) -> None:
    """What goes is what the rule says, each with the nearest of its partners that stay, at a tie the better one."""
    images, pairs = graph
    found = removed(edges_of(pairs), images)
    answers = zip(found.place.tolist(), found.partner.tolist(), found.cosine.tolist(), strict=True)
    assert {place: (partner, round(cosine, 6)) for place, partner, cosine in answers} == walked(images, pairs)
    assert (found.tier == found.partner % 3).all()  # each pair keeps its own


@given(graphs(), st.sampled_from([0.9, 0.95, 1.0]))
def test_kept_and_removed(graph: tuple[int, Pairs], at: float) -> None:
    """Every removed image has a kept partner at or above the threshold, and no two kept ones are that close."""
    images, pairs = graph
    close = {pair: cosine for pair, cosine in pairs.items() if cosine >= at}
    found = removed(edges_of(pairs).at(at), images)
    gone = set(found.place.tolist())
    for place, partner, cosine in zip(found.place, found.partner, found.cosine, strict=True):
        assert int(partner) not in gone
        assert cosine == np.float32(close[int(partner), int(place)]) >= np.float32(at)
    assert all(better in gone or worse in gone for better, worse in close)


@given(graphs())
def test_chains(graph: tuple[int, Pairs]) -> None:
    """Connected components are what one reaches by walking along pairs, and never remove less."""
    images, pairs = graph
    reached = list(range(images))
    for _ in range(images):
        for a, b in pairs:
            reached[a] = reached[b] = min(reached[a], reached[b])
    found = components(edges_of(pairs), images)
    assert found.tolist() == reached
    assert len(removed(edges_of(pairs), images).place) <= images - len(set(reached))


@given(graphs())
def test_pairs_are_sorted(graph: tuple[int, Pairs]) -> None:
    """Pairs come by the worse image, its nearest partner first, of partners that are as near the better one."""
    _, pairs = graph
    edges = edges_of(pairs)
    rows = list(zip(edges.worse.tolist(), (-edges.cosine).tolist(), edges.better.tolist(), strict=True))
    assert rows == sorted((worse, -np.float32(cosine).item(), better) for (better, worse), cosine in pairs.items())


def test_a_chain_is_not_followed() -> None:
    """Of a - b - c - d, where only neighbors are close, a and c stay: c is not close to a, nor d to b, which goes."""
    chain = {(0, 1): 0.95, (1, 2): 0.95, (2, 3): 0.95}
    assert removed(edges_of(chain), 4).place.tolist() == [1, 3]
    assert components(edges_of(chain), 4).tolist() == [0, 0, 0, 0]


def test_a_long_chain_is_one_walk() -> None:
    """A chain of a million is walked once, not once for each of its links."""
    links = np.arange(1_000_000, dtype=np.int64)
    edges = Edges(links, links + 1, np.ones(len(links), np.float32), np.zeros(len(links), np.int8))
    assert removed(edges, len(links) + 1).place.tolist() == list(range(1, len(links) + 1, 2))
    assert not components(edges, len(links) + 1).any()


@pytest.mark.parametrize("seed", range(3))
def test_a_long_way_to_settle(seed: int) -> None:
    """The rule holds where chains through other pairs outlast the rounds, and the rest is walked."""
    dice = Random(seed)
    pairs = {(k, k + 1): 0.95 for k in range(299)}
    for _ in range(60):
        better, worse = sorted(dice.sample(range(300), 2))
        pairs[better, worse] = dice.choice([0.91, 0.95, 1.0])
    found = removed(edges_of(pairs), 300)
    answers = zip(found.place.tolist(), found.partner.tolist(), found.cosine.tolist(), strict=True)
    assert {place: (partner, round(cosine, 6)) for place, partner, cosine in answers} == walked(300, pairs)


# In a store


def answered(session: Session, at: float | None = 0.95, **words: Any) -> dict[str, str]:
    """What is removed, and as a duplicate of what, by name."""
    rows = session.duplicates(at, **words).rows.to_pylist()
    return {row["uri"].rpartition("in/")[2]: row["duplicate_of"].rpartition("in/")[2] for row in rows}


STAR = {("a", "b"): 0.96, ("a", "c"): 0.95, ("a", "d"): 0.94, ("b", "c"): 0.99}


def star(folder: Path) -> EncoderStore:
    """Four images, a to d from large to small; a is close to b and c at 0.95, d is not."""
    rows = [image(name, width) for name, width in (("a", 640), ("b", 630), ("c", 620), ("d", 610))]
    return store_of(folder / "store", rows, STAR)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """A star of the test's own."""
    return star(tmp_path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a star that no test changes."""
    folder = tmp_path_factory.mktemp("star")
    star(folder)
    return folder / "store"


@pytest.fixture(scope="module")
def session(place: Path) -> Iterator[Session]:
    """An opened star that no test changes."""
    with contextlib.closing(ask(open_store(place))) as opened:
        yield opened


def test_the_largest_stays(session: Session) -> None:
    """Each removed image names the kept one and the cosine; equality with the threshold is included."""
    found = session.duplicates(0.95)
    assert answered(session) == {"b": "a", "c": "a"}
    assert [round(row["cosine"], 6) for row in found.rows.to_pylist()] == [0.96, 0.95]
    assert (found.images, found.groups, found.removed, [tier["removed"] for tier in found.tiers]) == (4, 1, 2, [2])
    assert answered(session, 0.96) == {"b": "a"}
    assert answered(session, 0.9) == {"b": "a", "c": "a", "d": "a"}
    assert answered(session, 0.97) == {"c": "b"}
    assert answered(session, 1.0) == {}


def test_the_ranking(tmp_path: Path) -> None:
    """Most pixels first, then most bytes, then the oldest, then by URI."""
    rows = [
        image("e", 600, size_bytes=9000),
        image("d", size_bytes=1000, minute=0),
        image("c", size_bytes=2000, minute=5),
        image("b", size_bytes=2000, minute=4),
        image("a", size_bytes=2000, minute=4),
    ]
    for best in "abcd":
        held = [row for row in rows if row.source_object.key.removeprefix("in/") >= best]
        names = [row.source_object.key.removeprefix("in/") for row in held]
        pairs = {(x, y): 0.99 for x in names for y in names if x < y}
        store = store_of(tmp_path / best, held, pairs)
        assert set(answered(ask(store)).values()) == {best}


def test_another_ranking(session: Session) -> None:
    """Any SQL order over `candidates` ranks; what it leaves open is settled by the URI."""
    assert answered(session, keep_first_by="width_px") == {"b": "c", "a": "c"}
    assert answered(session, keep_first_by="case when key like '%b' then 0 else 1 end, uri desc") == {
        "c": "b",
        "a": "b",
    }
    assert answered(session, keep_first_by="format") == {"b": "a", "c": "a"}
    assert answered(session, keep_first_by="height_px -- the same for all") == {"b": "a", "c": "a"}


def test_a_ranking_by_scores(store: EncoderStore) -> None:
    """Scores rank, choose and protect like all that `candidates` has, by name or by a pattern of names."""
    session = ask(put_scores(store, {"people": {"in/c": 0.9, "in/b": 0.5}}))
    assert answered(session, keep_first_by="people desc") == {"b": "c", "a": "c"}
    assert answered(session, keep_first_by="columns('peo.*') desc") == {"b": "c", "a": "c"}
    assert answered(session, where="people > 0.1") == {"c": "b"}
    assert answered(session, never="people > 0.6") == {"a": "c", "b": "c"}
    assert answered(session) == {"b": "a", "c": "a"}


def test_ties_are_settled_by_uri(tmp_path: Path) -> None:
    """Images that are the same in all numbers, or have no numbers, come by URI; what is protected still comes first."""
    rows = [*(image(name, facts=None) for name in "yx"), *(image(name) for name in "cba")]
    pairs = {(one, other): 0.96 for one in "abcxy" for other in "abcxy" if one < other}
    session = ask(store_of(tmp_path, rows, pairs))
    assert answered(session) == dict.fromkeys("bcxy", "a")
    assert answered(session, where="key > 'in/a'") == dict.fromkeys("cxy", "b")
    assert answered(session, where="width_px is null") == {"y": "x"}
    assert answered(session, never="key in ('in/b', 'in/c')") == dict.fromkeys("axy", "b")


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        ("widht_px desc", UnknownName, "The nearest column is 'width_px'"),
        ("width_px desc; drop table ranked", UsageError, "is no order"),
        ("width_px) over (), (1", UsageError, "is no order"),
        ("uri) + row_number() over (order by uri", UsageError, "is no order"),
        ("uri rows between 1 preceding and current row", UsageError, "is no order"),
        ("uri limit 1", UsageError, "is no order"),
        ("", UsageError, "is no order"),
        ("random()", UsageError, "answers anew every time"),
    ],
)
def test_what_is_no_ranking(session: Session, order: str, error: type[Exception], message: str) -> None:
    """An order asks of images and is total; anything else is refused, with what to write."""
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        session.duplicates(0.95, keep_first_by=order)


def test_only_some_images(session: Session) -> None:
    """What `where` leaves out is no duplicate and no keeper."""
    assert answered(session, where="key != 'in/a'") == {"c": "b"}
    assert answered(session, where="width_px > 625") == {"b": "a"}
    with pytest.raises(UnknownName, match="nearest column is 'key'"):
        session.duplicates(0.95, where="kye = 'in/a'")


def test_never_removed(session: Session) -> None:
    """Protected images stay, also where two of them are alike, and come before all others."""
    assert answered(session, never="key = 'in/c'") == {"a": "c", "b": "c"}
    assert answered(session, never="key in ('in/b', 'in/c')") == {"a": "b"}
    assert answered(session, never="true") == {}


def test_within_and_across(tmp_path: Path) -> None:
    """Images are compared within a group, or across groups alone; one without a group is compared with none."""
    rows = [image(name, 700 - 10 * k) for k, name in enumerate(["x/a", "x/b", "y/c", "y/d"])]
    names = ["x/a", "x/b", "y/c", "y/d"]
    session = ask(store_of(tmp_path, rows, {(p, q): 0.99 for p in names for q in names if p < q}))
    assert answered(session) == dict.fromkeys(["x/b", "y/c", "y/d"], "x/a")
    assert answered(session, within="folder") == {"x/b": "x/a", "y/d": "y/c"}
    assert answered(session, across="folder") == {"y/c": "x/a", "y/d": "x/a"}
    assert answered(session, across="key") == answered(session)
    assert answered(session, within="nullif(folder, 'in/x')") == {"y/d": "y/c"}
    with pytest.raises(UsageError, match="not both"):
        session.duplicates(0.95, within="folder", across="folder")


def test_tiers(tmp_path: Path) -> None:
    """Same bytes, same pixels and near ones are told apart, whatever their embeddings say."""
    rows = [
        image("a", 900, sha256="1", pixels_sha256="p", size_bytes=3000),
        image("b", 900, sha256="1", pixels_sha256="p", size_bytes=2000),
        image("c", 900, sha256="2", pixels_sha256="p", size_bytes=1000),
        image("d", 600, sha256="3", pixels_sha256="q"),
    ]
    session = ask(store_of(tmp_path, rows, {("a", "b"): 1.0, ("a", "c"): 0.996, ("a", "d"): 0.999}))
    found = session.duplicates(0.95).rows.to_pylist()
    assert {row["uri"][-1]: row["tier"] for row in found} == {
        "b": "same bytes",
        "c": "same pixels",
        "d": "near-duplicate",
    }
    assert answered(session, 1.0) == {"b": "a", "c": "a"}, "the same pixels are duplicates at any threshold"


def test_the_same_content_needs_no_vector(tmp_path: Path) -> None:
    """Without a threshold, what has the same bytes or pixels is found though no pair was ever looked for."""
    rows = [
        image("a", 900, sha256="1", pixels_sha256="p"),
        image("b", 900, sha256="2", pixels_sha256="p"),
        image("c", 900, sha256="3", pixels_sha256="q"),
        *(image(f"imported {k}", 500, sha256="4", pixels_sha256=None) for k in range(3)),
        *(image(f"unknown {k}", 500, sha256=None, pixels_sha256=None) for k in range(2)),
        broken(listed("in/broken 1")),
        broken(listed("in/broken 2")),
    ]
    session = ask(store_of(tmp_path, rows, None))
    assert answered(session, None) == {"b": "a", "imported 1": "imported 0", "imported 2": "imported 0"}
    assert answered(session, None, within="sha256") == {"imported 1": "imported 0", "imported 2": "imported 0"}
    with pytest.raises(NotCompared, match=r"1 of 1 parts .* Run `clipsieve neighbors STORE`"):
        session.duplicates(0.95)


def test_what_the_pairs_cannot_answer(store: EncoderStore) -> None:
    """A threshold below the floor, a part that came since, and a threshold that is no cosine are errors."""
    with pytest.raises(UsageError, match=r"from a cosine of 0.9 on.*--floor 0.85"):
        ask(store).duplicates(0.85)
    with pytest.raises(UsageError, match="no cosine"):
        ask(store).duplicates(95)
    add_part(store, [image("e")], part=1)
    with pytest.raises(NotCompared, match="1 of 2 parts"):
        ask(store.refreshed()).duplicates(0.95)


def test_the_lowest_floor_that_is_needed(store: EncoderStore) -> None:
    """Of two sets the exact one answers, but below its floor the other one."""
    put_neighbors(store, {("a", "d"): 0.85, ("a", "b"): 0.96}, method=APPROXIMATE, floor=0.8)
    session = ask(store.refreshed())
    assert answered(session, 0.9) == {"b": "a", "c": "a", "d": "a"}
    assert answered(session, 0.85) == {"b": "a", "d": "a"}


def test_what_is_no_longer_listed_plays_no_part(store: EncoderStore) -> None:
    """Deleted at the source, a keeper keeps nothing away, and its pairs are not shown."""
    list_source(store, [listed(f"in/{name}") for name in "bcd"], number=2)
    assert answered(ask(store.refreshed())) == {"c": "b"}
    rows = ask(store.refreshed()).sql("select cosine from neighbors").to_pylist()
    assert [round(row["cosine"], 6) for row in rows] == [0.99]


@settings(max_examples=5)
@given(graphs(), st.randoms())
def test_neither_order_nor_parts_matter(
    tmp_path_factory: pytest.TempPathFactory, graph: tuple[int, Pairs], dice: Random
) -> None:
    """The same images and pairs, in other parts and another order, give the same answer."""
    images, numbered = graph
    names = [f"{k:02}" for k in range(images)]
    pairs = {(names[a], names[b]): cosine for (a, b), cosine in numbered.items()}
    rows = [image(name, dice.choice([600, 610])) for name in names]
    first = store_of(tmp_path_factory.mktemp("one") / "store", rows, pairs)
    other = new_store(tmp_path_factory.mktemp("other") / "store")
    list_source(other, [row.source_object for row in rows])
    shuffled = dice.sample(rows, images)
    for part in range(3):
        add_part(other, shuffled[part::3], part=part)
    turned = dict(dice.sample([((b, a), cosine) for (a, b), cosine in pairs.items()], len(pairs)))
    other = put_neighbors(other, turned)
    columns = ["uri", "duplicate_of", "cosine", "tier"]
    answers = [ask(store).duplicates(0.91).rows.select(columns).to_pylist() for store in (first, other)]
    assert answers[0] == answers[1]


def test_the_sweep_is_every_threshold(session: Session) -> None:
    """Each line says what that threshold would remove, and what chaining would have."""
    swept = {round(row["threshold"], 2): row for row in session.duplicates_by_threshold().to_pylist()}
    assert list(swept) == [round(0.9 + k / 100, 2) for k in range(11)]
    for at, row in swept.items():
        found = session.duplicates(at)
        assert (row["removed"], row["groups"]) == (found.rows.num_rows, found.groups)
    assert [*swept[0.95]][1:] == [
        *("pairs", "removed", "groups", "largest_group", "chained_removed", "largest_chain"),
    ]
    assert [*swept[0.95].values()][1:] == [3, 2, 1, 3, 2, 3]
    assert [*swept[1.0].values()][1:] == [0, 0, 0, 0, 0, 0]
    chosen = session.duplicates_by_threshold([0.97, 0.94], where="key != 'in/a'").to_pylist()
    assert [(round(row["threshold"], 2), row["removed"]) for row in chosen] == [(0.94, 1), (0.97, 1)]


# The command


def test_the_command(place: Path) -> None:
    """The answer in words, with the pairs least alike, and how sure it is that all were found."""
    result = typed("duplicates", str(place), "--at", "0.95")
    assert result.exit_code == 0
    first, *lines = result.stdout.splitlines()
    assert first == (
        "2 of 4 images are duplicates of 1 that stays: a cosine of 0.95 or more, pairs found exactly: none is missing."
    )
    assert [line.split() for line in lines if "s3://" in line] == [
        ["0.9500", "near-duplicate", "s3://photos/in/c", "s3://photos/in/a"],
        ["0.9600", "near-duplicate", "s3://photos/in/b", "s3://photos/in/a"],
    ]
    without = typed("duplicates", str(place)).stdout
    assert without == "No image of 4 is a duplicate: the same bytes or the same pixels.\n"
    assert "0.9500      3        2" in typed("duplicates", str(place), "--sweep").stdout


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_for_machines(place: Path, kind: str) -> None:
    """Every removed image, with its partner, the cosine and the size of both."""
    result = typed("duplicates", str(place), "--at", "0.95", "--format", kind)
    rows = json.loads(result.stdout) if kind == "json" else list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["uri"], row["duplicate_of"], row["tier"], int(row["kept_width_px"])) for row in rows] == [
        ("s3://photos/in/b", "s3://photos/in/a", "near-duplicate", 640),
        ("s3://photos/in/c", "s3://photos/in/a", "near-duplicate", 640),
    ]


def test_the_sheet(session: Session, tmp_path: Path) -> None:
    """Groups as one looks at them: the kept image first, then its duplicates, the nearest first, with sizes."""
    place = tmp_path / "sheet.html"
    session.duplicates(0.95, html=str(place))
    page = place.read_text()
    shown = ["2 duplicates of 1 images that stay", "2 of a<", "kept", "cosine 0.9600", "630 x 480", "cosine 0.9500"]
    places = [page.index(text) for text in shown]
    assert places == sorted(places)
    with pytest.raises(UsageError, match="no name for a sheet"):
        session.duplicates(0.95, html=str(tmp_path / "photo.jpg"))


def test_words_that_do_not_go_together(place: Path) -> None:
    """A sweep has every threshold, so it takes none; a sheet belongs to one."""
    result = typed("duplicates", str(place), "--sweep", "--at", "0.95")
    assert result.exit_code == 2
    assert "A sweep shows every threshold" in result.stderr


def test_a_condition_that_does_more_than_ask(session: Session) -> None:
    """SQL of the command is read-only."""
    with pytest.raises((UsageError, QueryRefused)):
        session.duplicates(0.95, where="setval('x', 1) > 0")
