"""Images that share one embedding with very many others answer as if every pair of them were there, and none is."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.duplicates.answering.graph import Graph, near_graph
from query.session import Session
from store.layout import EncoderStore
from store.schema import NEIGHBORS, ImageRow
from tests.neighboring import image, store_of
from tests.stores import ask, list_source

Pairs = dict[tuple[str, str], float]


@dataclass(frozen=True)
class Ranked:
    """Images in the order of the ranking: the vector, the group and the protection of each; pairs of vectors."""

    vectors: Sequence[int]
    groups: Sequence[str | None]
    never: Sequence[bool]
    ranked: Sequence[bool]  # those that are not have been deleted, or take no part
    cosines: Mapping[tuple[int, int], float]
    compared: Mapping[int, int]  # of each vector that is a crowd's, the image that was compared for the others

    def graph(self, at: float, groups: str, *, crowded: bool) -> Graph:
        """The graph of these images, from all pairs or with crowds."""
        ids = [uuid.UUID(int=k) for k in range(len(self.vectors))]
        places = [k for k, is_there in enumerate(self.ranked) if is_there]
        written = [k for k, v in enumerate(self.vectors) if not crowded or self.compared.get(v, k) == k]
        pairs = [
            (ids[a].bytes, ids[b].bytes, 1.0 if v == w else self.cosines.get((min(v, w), max(v, w)), 0.0))
            for a in written
            for b in written
            for v, w in [(self.vectors[a], self.vectors[b])]
            if a < b
        ]
        in_order = {
            "image_id": pa.array([ids[k].bytes for k in places], pa.uuid()),
            "never": pa.array([self.never[k] for k in places], pa.bool_()),
            "group_name": pa.array([self.groups[k] for k in places], pa.string()),
            "_pixels": pa.array(range(len(places)), pa.int64()),
        }
        members = [k for k, v in enumerate(self.vectors) if v in self.compared]
        crowd_images = {
            "image_id": pa.array([ids[k].bytes for k in members], pa.uuid()),
            "crowd_id": pa.array([ids[self.compared[self.vectors[k]]].bytes for k in members], pa.uuid()),
        }
        with duckdb.connect() as connection:
            connection.from_arrow(pa.table(in_order)).create("in_order")
            connection.table("in_order").project("rowid as place, *").create_view("ranked")
            connection.from_arrow(pa.table(crowd_images)).create("crowd_images")
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*pairs, strict=True), NEIGHBORS, strict=False)
            ]
            connection.from_arrow(pa.table(columns or NEIGHBORS.empty_table().columns, schema=NEIGHBORS)).create(
                "pair_rows"
            )
            return near_graph(connection, at, groups, crowded=crowded)


@st.composite
def rankings(draw: st.DrawFn) -> Ranked:
    """Few vectors and groups, so that crowds meet each other, other images, and themselves in other groups."""
    images = draw(st.integers(2, 30))
    vectors = draw(st.lists(st.integers(0, 4), min_size=images, max_size=images))
    some = draw(st.sampled_from(["x", "xy", "xyz", "rstuvwxyz"]))
    groups = draw(st.lists(st.sampled_from([*some, None]), min_size=images, max_size=images))
    is_there = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=images, max_size=images))
    rare = draw(st.sampled_from([[False], [False, False, True], [False, True], [True]]))
    never = sorted(draw(st.lists(st.sampled_from(rare), min_size=images, max_size=images)), reverse=True)
    cosines = {(a, b): draw(st.sampled_from([0.0, 0.0, 0.9, 0.95, 1.0])) for b in range(5) for a in range(b)}
    crowds_of = draw(st.sets(st.sampled_from(vectors)))
    compared = {v: draw(st.sampled_from([k for k, w in enumerate(vectors) if v == w])) for v in crowds_of}
    return Ranked(vectors, groups, never, is_there, cosines, compared)


def said(graph: Graph) -> tuple[Any, ...]:
    """What goes, with its partner and cosine; how many pairs; the sizes of chains."""
    gone = graph.removed()
    rows = sorted(zip(gone.place.tolist(), gone.partner.tolist(), gone.cosine.tolist(), strict=True))
    return rows, graph.pairs, sorted(graph.chains.tolist())


@settings(max_examples=25)
@given(rankings(), st.sampled_from(["any", "same", "different"]), st.sampled_from([0.9, 0.95, 1.0]))
def test_a_crowd_is_as_all_its_pairs(images: Ranked, groups: str, at: float) -> None:
    """The same images go, for the same partners, as if all pairs were written; as many are counted and chained."""
    if groups == "any":
        images = replace(images, groups=[""] * len(images.groups))
    whole, short = (images.graph(0.9, groups, crowded=crowded).at(at) for crowded in (False, True))
    assert said(short) == said(whole)


@dataclass(frozen=True)
class Crowd:
    """Images, each of a vector of few, as a store without crowds has their pairs, and as one with crowds."""

    rows: Sequence[ImageRow]
    pairs: Pairs  # all of them
    written: Pairs  # those that do not follow from another image of the crowd
    crowds: Mapping[str, str]  # member: the image that was compared for it
    listed: Sequence[ImageRow]  # what the source still holds

    def opened(self, folder: Path, *, crowded: bool) -> EncoderStore:
        """A store of it."""
        pairs, crowds = (self.written, self.crowds) if crowded else (self.pairs, {})
        store = store_of(folder, self.rows, pairs, crowds)
        list_source(store, [row.source_object for row in self.listed], number=2)
        return store.refreshed()


def name_of(row: ImageRow) -> str:
    """The name of an image."""
    return row.source_object.key.removeprefix("in/")


@st.composite
def crowds(draw: st.DrawFn, most: int = 20) -> Crowd:
    """Up to five vectors at few cosines; of the images of each some were compared, and the others are members."""
    vectors = draw(st.integers(1, 5))
    cosines = {
        (a, b): draw(st.sampled_from([0.0, 0.0, 0.9, 0.95, 0.995, 1.0])) for a in range(vectors) for b in range(a)
    }
    of, rows = {}, []
    for k in range(draw(st.integers(2, most))):
        vector = draw(st.integers(0, vectors - 1))
        name = f"{draw(st.sampled_from('uvwxyz'))}/{k:02}"
        width, size_bytes = draw(st.sampled_from([600, 610])), draw(st.sampled_from([600, 610]))
        # No content is of two vectors: docs/duplicates.md says what would differ then.
        content = f"{width} {vector} {draw(st.sampled_from([0, 1]))}"
        of[name] = vector
        rows.append(image(name, width, size_bytes=size_bytes, pixels_sha256=content))
    pairs = {
        (a, b): 1.0 if of[a] == of[b] else cosines[max(of[a], of[b]), min(of[a], of[b])]
        for a in of
        for b in of
        if a < b
    }
    pairs = {pair: cosine for pair, cosine in pairs.items() if cosine}
    members: dict[str, str] = {}
    for vector in range(vectors):
        names = draw(st.permutations([name for name in of if of[name] == vector]))
        members |= dict.fromkeys(names[1 : 1 + draw(st.integers(0, most))], *names[:1])
    written = {pair: cosine for pair, cosine in pairs.items() if not members.keys() & {*pair}}
    gone = draw(st.sets(st.sampled_from(sorted(of)), max_size=3))
    return Crowd(rows, pairs, written, members, [row for row in rows if name_of(row) not in gone])


WORDS: Sequence[Mapping[str, str]] = [
    {},
    {"never": "width_px = 610"},
    {"where": "size_bytes = 600", "keep_first_by": "key desc"},
    {"within": "folder"},
    {"within": "nullif(folder, 'in/x')", "never": "width_px = 610"},
    {"across": "folder"},
    {"across": "key"},
    {"across": "nullif(folder, 'in/x')", "never": "key like '%1'", "keep_first_by": "key"},
    {"across": "folder", "never": "width_px = 610", "where": "size_bytes = 600 or width_px = 600"},
]


def answers(session: Session, words: Mapping[str, Any], thresholds: Sequence[float]) -> list[Any]:
    """What goes at each threshold, how it is known, and the sweep."""
    columns = ["uri", "duplicate_of", "cosine", "tier"]
    gone = [session.duplicates(at, **words) for at in thresholds]
    shown = [(sorted(found.rows.select(columns).to_pylist(), key=str), found.groups, found.tiers) for found in gone]
    return [*shown, *session.duplicates_by_threshold((), **words).to_pylist()]


@settings(max_examples=4)
@given(crowds(), st.sampled_from(WORDS))
def test_crowds_answer_as_all_their_pairs(
    tmp_path_factory: pytest.TempPathFactory, crowd: Crowd, words: Mapping[str, str]
) -> None:
    """Whatever is asked, and whichever images are still listed: the same partners, cosines, tiers and counts."""
    folder = tmp_path_factory.mktemp("crowds")
    with (
        closing(ask(crowd.opened(folder / "pairs", crowded=False))) as whole,
        closing(ask(crowd.opened(folder / "crowds", crowded=True))) as short,
    ):
        thresholds = [0.9, 0.97, 1.0]
        assert answers(short, words, thresholds) == answers(whole, words, thresholds)


def placeholders(folder: Path) -> EncoderStore:
    """Five images of one embedding, a to e from large to small, of which d was compared, and f, at 0.96 to them."""
    rows = [image(name, 700 - 10 * k) for k, name in enumerate("abcdef")]
    return store_of(folder / "store", rows, {("d", "f"): 0.96}, dict.fromkeys("abce", "d"))


@pytest.mark.parametrize(
    ("word", "sides"),
    [
        ("", "krrrrr"),
        ("never = \"key like '%c'\"", "rrkrrr"),
        ("never = \"key like '%f'\"", "rrrrrk"),
        ('keep_first_by = "width_px"', "rrrrrk"),
        ("within = \"case when key > 'in/c' then 1 else 2 end\"", "krrkrr"),
        ("across = \"case when key > 'in/c' then 1 else 2 end\"", "kkkrrr"),
    ],
)
def test_a_rule_of_a_policy(tmp_path: Path, word: str, sides: str) -> None:
    """A rule on duplicates decides for the images of a crowd as for others; what another rule removes is no keeper."""
    store = placeholders(tmp_path)
    policy = tmp_path / "p.toml"
    policy.write_text(f'[[rule]]\nname = "twins"\nduplicate_at = 0.95\n{word}\n')
    with closing(ask(store)) as session:
        rows = sorted(session.decisions(str(policy)).to_pylist(), key=lambda row: str(row["uri"]))
        assert "".join(row["decision"][0] for row in rows) == sides
        policy.write_text(policy.read_text() + '[[rule]]\nname = "a"\nremove = "key like \'%a\'"\n')
        rows = sorted(session.decisions(str(policy)).to_pylist(), key=lambda row: str(row["uri"]))
        assert all(row["duplicate_of"] != "s3://photos/in/a" for row in rows)
        if not word:
            assert [row["duplicate_of"] for row in rows[2:]] == ["s3://photos/in/b"] * 4
            assert [round(row["cosine"], 6) for row in rows[2:]] == [1.0, 1.0, 1.0, 0.96]


def test_the_same_content_outside_a_crowd(tmp_path: Path) -> None:
    """An image of a crowd and one outside it count by their cosine, also where they are the same picture."""
    rows = [image(name, 640, pixels_sha256="p") for name in "abcf"]
    store = store_of(tmp_path, rows, {("a", "f"): 0.999}, dict.fromkeys("bc", "a"))
    with closing(ask(store)) as session:
        for at, gone in ((1.0, ["b", "c"]), (0.99, ["b", "c", "f"])):
            found = session.duplicates(at).rows.to_pylist()
            assert sorted(row["uri"][-1] for row in found) == gone
            assert {(row["duplicate_of"][-1], row["cosine"], row["tier"]) for row in found} == {
                ("a", 1.0, "same pixels")
            }
        shown = session.sql("select uri, member_of::varchar as m from crowds join images using (image_id)").to_pylist()
        session.catalog(str(tmp_path / "c.duckdb"))
    assert {row["uri"][-1] for row in shown} == {"b", "c"}
    assert len({row["m"] for row in shown}) == 1
    with duckdb.connect(str(tmp_path / "c.duckdb"), read_only=True) as client:
        assert client.execute("select member_of::varchar from crowds").fetchall() == [(shown[0]["m"],)] * 2
