"""Search is exact: what it finds is what comparing every vector finds, of all that still counts and of nothing else."""

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from html import escape
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipsieve
from query.asking import search
from query.asking.vectors import combined
from query.opened import Opened
from query.session import Session
from store import parts
from store.encoder import Encoder
from store.errors import LocationError, MissingExtra, NotScored, UnknownName, UsageError, WrongEncoder
from store.layout import EncoderStore
from store.location import FolderLocation
from store.prompts import add_prompts, read_prompts
from store.records import SourceObject
from store.schema import ImageRow
from tests.commands import one_line, parsed, typed
from tests.stores import (
    HashTower,
    add_part,
    ask,
    broken,
    embedded,
    list_source,
    listed,
    new_store,
    put_scores,
    small_store,
    unit,
)

SIZES = {"in/05.jpg": 200, "in/06.jpg": 300}


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images in two parts, one that failed, a text file, and one that no run has read."""
    return small_store(tmp_path / "store", pending=["later.jpg"])


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store with scores, for tests that write nothing into it."""
    store = small_store(tmp_path_factory.mktemp("searched"), pending=["later.jpg"])
    add_prompts(store, ["a dog"], unit("a dog")[None])
    with closing(ask(put_scores(store, {"people": {}}))) as session:
        yield session


class EyesOfHash:
    """Stands where the image tower does: the vector of a picture is `unit` of its bytes read as text."""

    def encode(self, name: str, data: bytes) -> tuple[np.ndarray, bytes]:
        """A unit vector and a thumbnail; what says so is no picture."""
        if data == b"no picture":
            raise UsageError(f"{name} cannot be read as a picture.")
        return unit(data.decode()), b"small " + data

    def of(self, _encoder: Encoder) -> "EyesOfHash":
        """Itself, whatever the encoder."""
        return self


def seeing(store: EncoderStore) -> Session:
    """A session with both towers."""
    session = ask(store, HashTower())
    session._image_tower_of = EyesOfHash().of
    return session


def keys(session: Session, *texts: str, **words: object) -> list[str]:
    """The keys found, nearest first, without the prefix."""
    found = session.search(*texts, **words)  # type: ignore[arg-type]  # the words of a search
    return [row["uri"].removeprefix("s3://photos/in/") for row in found.to_pylist()]


def by_hand(names: Sequence[str], wanted: np.ndarray) -> list[str]:
    """The same by comparing with every vector in float64."""
    cosines = {name: float(unit(f"in/{name}").astype(np.float16).astype(np.float64) @ wanted) for name in names}
    return sorted(cosines, key=lambda name: -cosines[name])


ALL = [f"{k:02}.jpg" for k in range(12)]


def test_everything_is_compared(store: EncoderStore) -> None:
    """The answer is what comparing with every vector gives, in that order, with what is known of each image."""
    session = ask(store, HashTower())
    assert keys(session, "a dog") == by_hand(ALL, unit("a dog").astype(np.float64))
    rows = session.search("a dog", top=3).to_pylist()
    assert [row["rank"] for row in rows] == [1, 2, 3]
    best = rows[0]
    expected = unit(f"in/{keys(session, 'a dog')[0]}").astype(np.float16).astype(np.float32) @ unit("a dog")
    assert best["cosine"] == pytest.approx(float(expected), abs=1e-6)
    assert (best["width_px"], best["height_px"], best["format"], best["size_bytes"]) == (640, 480, "JPEG", 1000)


def test_what_counts_for_it_is_added_up_and_what_counts_against_it_taken_away(store: EncoderStore) -> None:
    """Several texts and images are one vector: the sum of one side less the sum of the other, of length 1."""
    session = ask(store, HashTower())
    wanted = unit("a dog").astype(np.float64) + unit("in/03.jpg") - unit("a cat") - unit("in/07.jpg")
    found = keys(session, "a dog", minus=["a cat"], images=["in/03.jpg"], minus_images=["in/07.jpg"])
    assert found == by_hand(ALL, wanted)
    assert found != keys(session, "a dog")
    assert keys(session, minus=["a cat"]) == by_hand(ALL, -unit("a cat").astype(np.float64))
    assert np.linalg.norm(combined([unit("a"), unit("b")], [unit("c")])) == pytest.approx(1, abs=1e-6)


def test_a_text_is_encoded_once(store: EncoderStore) -> None:
    """A text is looked up before it is encoded, and what was encoded is cached: from then on no tower is needed."""
    add_prompts(store, ["a cat"], unit("a cat")[None])
    tower = HashTower()
    first = keys(ask(store, tower), "a dog", "a dog", minus=["a cat"])
    assert tower.asked == [["a dog"]]
    assert set(read_prompts(store.refreshed())) == {"a dog", "a cat"}
    assert keys(ask(store), "a dog", "a dog", minus=["a cat"]) == first


def test_without_torch_a_new_text_says_what_to_do(store: EncoderStore) -> None:
    """Without a text tower a cached text is found, and a new one is a sentence that names the nearest cached text."""
    add_prompts(store, ["a dog"], unit("a dog")[None])
    assert len(keys(ask(store), "a dog")) == 12
    with pytest.raises(MissingExtra, match=r"clipsieve\[embed\].*Or ask for a text that is cached: 'a dog'"):
        ask(store).search("a dgo")
    with pytest.raises(MissingExtra, match=r"clipsieve\[embed\]'$"):
        ask(store).search("something else altogether")


def test_a_store_that_may_only_be_read_is_searched(store: EncoderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be written to, a new text is answered all the same."""
    expected = by_hand(ALL, unit("a dog").astype(np.float64))

    def refuse(_self: FolderLocation, _name: str, _data: bytes) -> None:
        raise LocationError("Read-only.")

    monkeypatch.setattr(FolderLocation, "write", refuse)
    assert keys(ask(store, HashTower()), "a dog") == expected


@pytest.mark.parametrize("word", ["in/03.jpg", "s3://photos/in/03.jpg", str(listed("in/03.jpg").image_id)])
def test_an_image_of_the_store_needs_no_tower(asked: Session, word: str) -> None:
    """An image is named by key, URI or id; its own vector is asked with, so it comes first with cosine 1."""
    first = asked.search(images=[word], top=1).to_pylist()[0]
    assert first["uri"] == "s3://photos/in/03.jpg"
    assert first["cosine"] == pytest.approx(1, abs=1e-3)


def test_a_file_is_encoded(store: EncoderStore, tmp_path: Path) -> None:
    """A file that the store does not know is encoded by the image tower, and its own picture stands on the sheet."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"in/08.jpg")
    sheet = tmp_path / "sheet.html"
    assert keys(seeing(store), images=[str(photo)], html=str(sheet))[0] == "08.jpg"
    assert "c21hbGwgaW4vMDguanBn" in sheet.read_text()  # base64 of `small in/08.jpg`
    photo.write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"photo\.jpg cannot be read as a picture"):
        seeing(store).search(images=[str(photo)])
    with pytest.raises(MissingExtra):
        ask(store).search(images=[str(photo)])


def test_a_file_that_the_store_has_read_needs_no_tower(tmp_path: Path) -> None:
    """A file is known by its path as long as it has not changed since it was read."""
    photo = tmp_path / "a photo.jpg"
    photo.write_bytes(b"in/01.jpg")
    status = photo.stat()
    source = f"{tmp_path.as_uri()}/"
    one = SourceObject(
        source=source,
        uri=photo.as_uri(),
        bucket=None,
        key=photo.name,
        etag=None,
        revision=f"{status.st_size}-{status.st_mtime_ns}",
        size_bytes=status.st_size,
        last_modified=listed("in/x").last_modified,
    )
    store = new_store(tmp_path / "store")
    list_source(store, [one], source=source)
    add_part(store, [embedded(one)])
    assert ask(store).search(images=[str(photo)]).num_rows == 1
    photo.write_bytes(b"something else")
    with pytest.raises(MissingExtra):
        ask(store).search(images=[str(photo)])


@pytest.mark.parametrize("key", ["it's.jpg", 'a "b".jpg', "100%_[1]*?.jpg", "$word.jpg", "a\nb.jpg", "é ü.jpg", " "])
def test_odd_keys_are_names_as_any_other(tmp_path: Path, key: str) -> None:
    """Whatever a key holds, its image is asked with by key and by URI, and stands on the sheet."""
    session = ask(small_store(tmp_path / "store", [key, "other.jpg"]))
    for word in (f"in/{key}", f"s3://photos/in/{key}"):
        found = session.search(images=[word], html=str(tmp_path / "s.html"))
        assert found["uri"].to_pylist() == [f"s3://photos/in/{key}", "s3://photos/in/other.jpg"]
    assert escape(f"s3://photos/in/{key}") in (tmp_path / "s.html").read_text(encoding="utf-8")


def test_nothing_is_missed_in_a_large_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of several row groups, with failed images among the others, is searched as a small one is."""
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 2048)  # DuckDB reads so many at once, however few a group has
    store = new_store(tmp_path / "store")
    images = [listed(f"in/{k:05}.jpg") for k in range(2 * 2048 + 40)]
    list_source(store, images)
    add_part(store, [broken(one) if k % 10 == 7 else embedded(one) for k, one in enumerate(images)])
    with store.refreshed().location.open(store.refreshed().parts("images")[0]) as part:
        assert pq.read_metadata(part).num_row_groups == 3
    names = [one.key.removeprefix("in/") for k, one in enumerate(images) if k % 10 != 7]
    session = ask(store, HashTower())
    assert keys(session, "a dog") == by_hand(names, unit("a dog").astype(np.float64))[:20]
    last = images[-1].key
    assert keys(session, images=[last], top=1) == [last.removeprefix("in/")]


@pytest.mark.parametrize(
    ("word", "kind", "says"),
    [
        ("in/33.jpg", UnknownName, r"no image of the store and no file\. Nearest: s3://photos/in/03\.jpg"),
        ("in/broken.jpg", UsageError, "has no embedding: truncated"),
        ("in/readme.txt", UsageError, "has no embedding: it is no image"),
        ("in/later.jpg", UsageError, "has not been read yet"),
        (" ", UsageError, "is empty"),
        ("~nobody/a.jpg", UnknownName, "no image of the store and no file"),
        ("x" * 5000, UnknownName, "no image of the store and no file"),
    ],
)
def test_an_image_that_cannot_be_asked_with_says_why(
    asked: Session, word: str, kind: type[Exception], says: str
) -> None:
    """An unknown image is an error with the nearest name; one without a vector says what became of it."""
    with pytest.raises(kind, match=says):
        asked.search(images=[word])


def test_a_key_of_several_images_is_an_error(tmp_path: Path) -> None:
    """Where a key means several images, one of them has to be named by its URI."""
    store = new_store(tmp_path / "store")
    for number, bucket in enumerate(("one", "two"), 1):
        image = listed("k.jpg")
        there = SourceObject(**{**vars(image), "source": f"s3://{bucket}/", "uri": f"s3://{bucket}/k.jpg"})
        list_source(store, [there], number, source=f"s3://{bucket}/")
        add_part(store, [embedded(there)], number)
    with pytest.raises(UsageError, match=r"'k\.jpg' means 2 images .* s3://one/k\.jpg"):
        ask(store).search(images=["k.jpg"])
    assert ask(store).search(images=["s3://two/k.jpg"]).num_rows == 2


@pytest.mark.parametrize(
    ("texts", "words", "says"),
    [
        ((), {}, "nothing to look for"),
        (("",), {}, "is empty"),
        (("a dog",), {"minus": ["a dog"]}, "cancel out"),
        (("a dog",), {"top": 0}, "at least 1"),
        (("a dog",), {"html": "photo.jpg"}, "ends in .html"),
    ],
)
def test_what_cannot_be_looked_for_is_wrong_use(
    asked: Session, texts: tuple[str, ...], words: dict[str, object], says: str
) -> None:
    """Nothing, an empty text, what cancels out and a sheet over a photo are refused with a sentence."""
    with pytest.raises(UsageError, match=says):
        keys(asked, *texts, **words)


def test_a_condition_limits_what_is_found(store: EncoderStore) -> None:
    """`where` is asked before the nearest are taken, of metadata, scores and cosines alike."""
    session = ask(put_scores(store, {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)}}), HashTower())
    order = keys(session, "a dog")
    assert keys(session, "a dog", where="people >= 0.5", top=3) == [key for key in order if key >= "06"][:3]
    assert keys(session, "a dog", where="key like '%/1%' -- the last ones") == [key for key in order if key[0] == "1"]
    assert (
        keys(session, "a dog", where="similarity(embedding, 'a dog') < 0.8")
        == keys(session, "a dog")[sum(row["cosine"] >= 0.8 for row in session.search("a dog").to_pylist()) :]
    )
    assert keys(session, "a dog", where="people > 1") == []


@pytest.mark.parametrize(
    ("where", "kind", "says"),
    [
        ("peeple >= 0.5", UnknownName, "nearest column is 'people'"),
        ("people", UsageError, "not true or false"),
        ("people >= 0.5)", UsageError, "no SQL condition"),
        ("mask >= 0.5", NotScored, "clipsieve score STORE mask"),
        ("cast(key as integer) > 3", UsageError, "cannot be applied to every image"),
    ],
)
def test_a_wrong_condition_is_one_sentence(asked: Session, where: str, kind: type[Exception], says: str) -> None:
    """A condition is checked as a rule is: one expression, true or false, over columns that there are."""
    with pytest.raises(kind, match=says):
        asked.search("a dog", where=where)


def test_a_condition_on_scores_wants_all_of_them(store: EncoderStore) -> None:
    """Where some parts have no scores yet, a condition on scores is refused, and a search without one is not."""
    scored = put_scores(store, {"people": {}})
    add_part(scored, [embedded(listed("in/later.jpg"))], number=2)
    session = ask(scored.refreshed(), HashTower())
    with pytest.raises(NotScored, match="cover 2 of 3 parts"):
        session.search("a dog", where="people < 0.5")
    assert len(keys(session, "a dog")) == 13


def test_what_no_longer_counts_is_never_found(tmp_path: Path) -> None:
    """Of what was deleted, replaced or read twice only the row that counts is found, however near the others are."""
    store = new_store(tmp_path / "store")
    gone, replaced, twice = (listed(f"in/{name}.jpg") for name in ("gone", "replaced", "twice"))
    newer = listed("in/replaced.jpg", etag="e2")
    add_part(store, [embedded(gone, words="a dog"), embedded(replaced, words="a dog"), embedded(twice, words="a dog")])
    list_source(store, [newer, twice], number=2)
    add_part(store, [embedded(newer, words="new"), embedded(twice, words="again", minute=9)], number=2)
    found = ask(store, HashTower()).search("a dog").to_pylist()
    cosines = {row["uri"]: row["cosine"] for row in found}
    assert set(cosines) == {"s3://photos/in/replaced.jpg", "s3://photos/in/twice.jpg"}
    assert cosines["s3://photos/in/twice.jpg"] == pytest.approx(float(unit("again") @ unit("a dog")), abs=1e-3)


def test_an_empty_store_answers_with_nothing(tmp_path: Path) -> None:
    """Where nothing has been embedded, nothing is found, and the columns are the same."""
    empty = new_store(tmp_path / "store")
    found = ask(empty, HashTower()).search("a dog")
    assert found.num_rows == 0
    assert found.column_names == ask(small_store(tmp_path / "other"), HashTower()).search("a dog").column_names
    with pytest.raises(UnknownName, match="lists no images yet"):
        ask(empty).search(images=["in/1.jpg"])


HALVES = st.sampled_from([(a, b, c, d) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1) for d in (-1, 1)])
"""Signs of vectors of four halves: their products are exact in any order of adding up, and many are equal."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int, bool, tuple[int, int, int, int]]], set[int]]:
    """Rows of (image, run, failed, signs), and the images that the newest listing holds."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 7), st.integers(1, 3), st.booleans(), HALVES),
            max_size=20,
            unique_by=lambda row: row[:2],
        )
    )
    return rows, draw(st.sets(st.integers(0, 7), max_size=8))


@settings(max_examples=15)
@given(history=histories(), signs=HALVES, top=st.integers(1, 9), spare=st.integers(0, 3))
def test_the_answer_is_exact_whatever_has_happened_to_the_store(
    tmp_path_factory: pytest.TempPathFactory,
    history: tuple[list[tuple[int, int, bool, tuple[int, int, int, int]]], set[int]],
    signs: tuple[int, ...],
    top: int,
    spare: int,
) -> None:
    """Whatever was read twice, failed or deleted, and however few rows the first pass takes, nothing is missed.

    Equal ones are in the order of their ids.
    """
    rows, current = history
    objects = [listed(f"in/{k}.jpg") for k in range(8)]
    store = new_store(tmp_path_factory.mktemp("property") / "store")
    if current:
        list_source(store, [objects[k] for k in sorted(current)], number=9)
    for run in (1, 2, 3):
        if some := [_row(objects[k], at, failed, halves) for k, at, failed, halves in rows if at == run]:
            add_part(store, some, number=run)
    counting = {}
    for k, _run, failed, halves in sorted(rows, key=lambda row: (not row[2], row[1])):  # the best one comes last
        if k in current:
            counting[objects[k].image_id] = None if failed else float(_halves(halves) @ _halves(signs))
    expected = sorted(((-c, i) for i, c in counting.items() if c is not None))[:top]
    opened = Opened.open(store.refreshed(), None)
    with opened.connection, pytest.MonkeyPatch.context() as patched:
        patched.setattr(search, "_SPARE", spare)
        assert _nearest(opened, signs, top) == expected
        chosen = {objects[0].image_id, objects[3].image_id}
        limited = sorted((-c, i) for i, c in counting.items() if c is not None and i in chosen)[:top]
        assert _nearest(opened, signs, top, "key in ('in/0.jpg', 'in/3.jpg')") == limited


def _nearest(opened: Opened, signs: Sequence[int], top: int, where: str = "") -> list[tuple[float, uuid.UUID]]:
    found = search.nearest(opened, _halves(signs), top, where).to_pylist()
    return [(-row["cosine"], row["image_id"]) for row in found]


def _halves(signs: Sequence[int]) -> np.ndarray:
    vector = np.zeros(32, np.float32)
    vector[:4] = np.asarray(signs) / 2
    return vector


def _row(one: SourceObject, run: int, failed: bool, signs: Sequence[int]) -> ImageRow:  # noqa: FBT001  # drawn data
    if failed:
        return broken(one, minute=run)
    row = embedded(one, minute=run)
    return ImageRow(**{**vars(row), "embedding": _halves(signs).astype(np.float16)})


def test_the_sheet_shows_what_was_found(store: EncoderStore, tmp_path: Path) -> None:
    """The contact sheet holds the thumbnails themselves, ranks, cosines and URIs, and every text of it is escaped."""
    sheet = tmp_path / "sheet.html"
    text, where = "a <b>dog</b> & co", "width_px > 3"
    found = seeing(store).search(text, images=["in/03.jpg"], where=where, top=4, html=str(sheet))
    page = sheet.read_text(encoding="utf-8")
    assert "a &lt;b&gt;dog&lt;/b&gt; &amp; co + in/03.jpg" in page
    assert "Only where width_px &gt; 3." in page
    assert page.count("data:image/webp;base64,") == 4 + 1  # and the image that was asked with
    for row in found.to_pylist():
        assert row["uri"] in page
        assert f"cosine {row['cosine']:.4f}" in page


def test_the_command_answers_as_the_session_does(
    store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`clipsieve search` takes the same words, says where the sheet is, and gives machines every column."""
    monkeypatch.setattr(clipsieve, "_text_tower", lambda _held, _words: HashTower())
    place, sheet = str(tmp_path / "store"), str(tmp_path / "s.html")
    words = [
        "a dog",
        "--minus",
        "a cat",
        "--image",
        "in/03.jpg",
        "--minus-image",
        "in/07.jpg",
        "--where",
        "width_px > 3",
    ]
    asked = typed("search", place, *words, "--top", "3", "--html", sheet, "--format", "json")
    rows = parsed(asked, "json")
    expected = ask(store, HashTower()).search(
        "a dog", minus=["a cat"], images=["in/03.jpg"], minus_images=["in/07.jpg"], top=3
    )
    assert [row["uri"] for row in rows] == expected["uri"].to_pylist()
    assert list(rows[0]) == expected.column_names
    assert asked.stderr == f"Contact sheet written to {sheet}.\n"
    shown = typed("search", place, "a dog", "--top", "2")
    assert "image_id" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 3
    wrong = typed("search", place, "--image", "in/33.jpg")
    assert wrong.exit_code == 2
    assert "Nearest: s3://photos/in/03.jpg" in one_line(wrong)


def test_a_real_picture_is_seen_as_pass_1_saw_it(
    embedded_store: Path, photos: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A copy of a photo, at a place of its own, gives the vector that its original has in the store; text works too."""
    session = clipsieve.open(str(embedded_store), f"local-dir:{tiny_encoder}")
    original = session.sql("select uri, key from current_images where status = 'embedded' order by key").to_pylist()[0]
    copy = shutil.copy(photos / original["key"], tmp_path / "copy.bin")
    by_copy = session.search(images=[str(copy)], top=5)
    by_key = session.search(images=[original["key"]], top=5)
    assert by_copy["uri"].to_pylist() == by_key["uri"].to_pylist()
    np.testing.assert_allclose(by_copy["cosine"].to_numpy(), by_key["cosine"].to_numpy(), atol=2e-3)
    other = tmp_path / "other.txt"
    other.write_text("words")
    with pytest.raises(UsageError, match=r"other\.txt cannot be read as a picture \(it is no image\)"):
        session.search(images=[str(other)])


def test_the_image_tower_must_be_the_stores(embedded_store: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Other weights, and other ways from bytes to pixels, are refused: their vectors mean something else."""
    from dataclasses import replace

    from embed.encoders import load_image_tower, parse_encoder
    from tests.tiny_encoder import write_tiny_encoder

    held = clipsieve.open(str(embedded_store)).encoder
    ours = parse_encoder(f"local-dir:{tiny_encoder}")
    assert load_image_tower(held, ours).embedding_dim == held.embedding_dim
    with pytest.raises(WrongEncoder, match="weights found"):
        load_image_tower(held, parse_encoder(f"local-dir:{write_tiny_encoder(tmp_path / 'other', seed=8)}"))
    with pytest.raises(WrongEncoder, match="prepared in another way"):
        load_image_tower(replace(held, decode_mode="full-0"), ours)
    with pytest.raises(WrongEncoder, match="prepared in another way"):
        load_image_tower(replace(held, preprocessing={"size": 32}), ours)
