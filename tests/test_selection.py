"""A part of a source is what was asked for, and a look at a part never hides the rest."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.sources import Selection, open_source
from embed.sources.selection import base, name_below, sampled
from store.errors import SourceError, UsageError
from store.listings import ListingWriter
from store.s3 import S3Options
from tests.embedding import embed_command, outcomes
from tests.pictures import picture_bytes
from tests.stores import SOURCE, ask, files_of, list_source, listed, new_store, run_id, small_store

ALL = ["a.jpg", "a.png", "train/b.jpg", "train/deep/c.JPG", "val/[d].jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source of five files."""
    for name in ALL:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "in"


def keys(folder: Path, selection: Selection) -> list[str]:
    """What is taken, in order."""
    return [one.key for page in open_source(str(folder), S3Options(), selection).pages() for one in page]


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ((), (), ALL),
        (("*.jpg",), (), ["a.jpg", "train/b.jpg", "val/[d].jpg"]),
        (("*.jpg", "*.png"), (), ["a.jpg", "a.png", "train/b.jpg", "val/[d].jpg"]),
        (("train/*",), (), ["train/b.jpg", "train/deep/c.JPG"]),
        (("train/*",), ("*.JPG",), ["train/b.jpg"]),
        ((), ("*.jpg",), ["a.png", "train/deep/c.JPG"]),
        (("a.jpg",), ("a.*",), None),
        (("val/[[]d].jpg",), (), ["val/[d].jpg"]),
    ],
)
def test_patterns(folder: Path, include: tuple[str, ...], exclude: tuple[str, ...], taken: list[str] | None) -> None:
    """An object is taken where any --include matches and no --exclude does; none at all is an error."""
    if taken is None:
        with pytest.raises(SourceError, match=r"Of the 5 objects of .* none is wanted"):
            keys(folder, Selection(include, exclude))
    else:
        assert keys(folder, Selection(include, exclude)) == taken


@pytest.mark.parametrize(
    ("source", "uri", "name"),
    [
        ("s3://b/in/", "s3://b/in/a/b.jpg", "a/b.jpg"),
        ("file:///x%20y/", "file:///x%20y/a%20b.jpg", "a b.jpg"),
        ("s3://b/[raw]/{x}*?/", "s3://b/[raw]/{x}*?/a/b.jpg", "a/b.jpg"),
        ("s3://b/in/{0..9}.tar", "tar://m/a.jpg::s3://b/in/3.tar", "3.tar/m/a.jpg"),
        ("file:///lists/x.csv", "https://h/a.jpg?w=1", "https://h/a.jpg?w=1"),
    ],
)
def test_what_patterns_see(source: str, uri: str, name: str) -> None:
    """A pattern sees the name below the source; of a list the whole URI, of a member its tar as a folder."""
    assert name_below(base(source), uri) == name


def test_limit_is_the_first(folder: Path) -> None:
    """--limit takes the first of the listing, of what the patterns leave."""
    assert keys(folder, Selection(limit=2)) == ["a.jpg", "a.png"]
    assert keys(folder, Selection(exclude=("a.*",), limit=1)) == ["train/b.jpg"]
    assert keys(folder, Selection(limit=99)) == ALL


def test_limit_and_sample_contradict() -> None:
    """Two numbers for one thing are refused."""
    with pytest.raises(UsageError, match="both say how many"):
        Selection(limit=1, sample=1)


@given(order=st.permutations(range(12)), count=st.integers(0, 14), seed=st.integers(0, 3))
@settings(max_examples=30)
def test_sample_depends_on_the_seed_alone(order: list[int], count: int, seed: int) -> None:
    """The same seed takes the same images in whatever order they are listed, each once, in the listing's order."""
    taken = sampled((listed(f"in/{k}") for k in order), count, seed)
    again = sampled((listed(f"in/{k}") for k in range(12)), count, seed)
    assert {one.key for one in taken} == {one.key for one in again}
    assert len(taken) == min(count, 12)
    assert [one.key for one in taken] == [f"in/{k}" for k in order if f"in/{k}" in {one.key for one in taken}]


def test_sample_is_fair() -> None:
    """Over many seeds every image is taken equally often: 3 of 10 in 2,000 draws, each within five deviations."""
    objects = [listed(f"in/{k}") for k in range(10)]
    taken = Counter(one.key for seed in range(2000) for one in sampled(iter(objects), 3, seed))
    assert all(abs(taken[one.key] - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5 for one in objects)


# What the store knows afterwards


def current(place: Path) -> set[str]:
    """The keys that the sources hold now, as far as the store knows, without their prefix."""
    return {key.removeprefix("in/") for key in outcomes(place)}


def test_calibration_then_everything(tmp_path: Path, tiny_encoder: Path) -> None:
    """After --sample its images are there to be judged, after --limit these too, and the whole run reads the rest."""
    album, place = tmp_path / "album", tmp_path / "store"
    album.mkdir()
    for number in range(8):
        (album / f"{number}.jpg").write_bytes(picture_bytes(number))
    first = embed_command(album, place, tiny_encoder, "--sample", "3", "--seed", "7")
    assert (first.exit_code, len(current(place))) == (0, 3)
    before = current(place)
    again = embed_command(album, place, tiny_encoder, "--sample", "3", "--seed", "7")
    assert again.stdout.startswith("Nothing to do: all 3 objects")
    embed_command(album, place, tiny_encoder, "--limit", "2")
    assert current(place) == before | {"0.jpg", "1.jpg"}
    everything = embed_command(album, place, tiny_encoder)
    assert f"{len(before | {'0.jpg', '1.jpg'})} of them done before" in everything.stdout
    assert current(place) == {f"{number}.jpg" for number in range(8)}
    whole = files_of(place)
    embed_command(album, place, tiny_encoder, "--include", "*[0-3].jpg")
    embed_command(album, place, tiny_encoder, "--limit", "1")
    assert files_of(place) == whole


def look(store_folder: Path, names: list[str], number: int, **words: object) -> set[str]:
    """List `in/` with a selection at minute `number`; return what the store then takes for current."""
    store = new_store(store_folder).refreshed()
    selection = Selection(**words)  # type: ignore[arg-type]
    found = list(selection.choose((listed(f"in/{name}") for name in names), SOURCE))
    with ListingWriter(store, SOURCE, run_id(number), selection.covers(SOURCE)) as listing:
        listing.add(found)
        listing.finish()
    session = ask(store.refreshed())
    rows = session.sql("select key from current_objects").to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"].removeprefix("in/") for row in rows}


def test_patterns_tell_of_what_they_match(tmp_path: Path) -> None:
    """What matches and is gone is gone; what does not match stays; a whole listing knows everything."""
    assert look(tmp_path, ["a.jpg", "b.jpg", "c.png"], 1) == {"a.jpg", "b.jpg", "c.png"}
    assert look(tmp_path, ["a.jpg", "d.png"], 2, include=("*.jpg",)) == {"a.jpg", "c.png"}
    assert look(tmp_path, ["a.jpg", "d.png"], 3) == {"a.jpg", "d.png"}


def test_limit_and_sample_tell_of_nothing_else(tmp_path: Path) -> None:
    """What a limit or a sample leaves out is neither there anew nor gone."""
    look(tmp_path, ["b.jpg", "c.jpg"], 1)
    assert look(tmp_path, ["a.jpg", "b.jpg", "d.jpg"], 2, limit=1) == {"a.jpg", "b.jpg", "c.jpg"}
    assert look(tmp_path, ["z.jpg"], 3, sample=1) == {"a.jpg", "b.jpg", "c.jpg", "z.jpg"}
    assert look(tmp_path, ["z.jpg"], 4) == {"z.jpg"}


def test_part_of_a_prefix_within_another_source(tmp_path: Path) -> None:
    """A look at a part of an inner prefix keeps what the wider source knew of it, and what lies outside."""
    store = new_store(tmp_path)
    wide = [listed(f"in/{key}", source="s3://photos/") for key in ("a.jpg", "b.jpg")]
    list_source(store, [*wide, listed("out/c.jpg", source="s3://photos/")], 1, "s3://photos/")
    assert look(tmp_path, ["a.jpg", "new.jpg"], 2, sample=2) == {"a.jpg", "b.jpg", "new.jpg", "out/c.jpg"}


def test_replaced_object_within_a_part(tmp_path: Path) -> None:
    """An object that was replaced counts once, as the newest look at it saw it."""
    store = small_store(tmp_path)
    with ListingWriter(store, SOURCE, run_id(5), lambda _: False) as listing:
        listing.add([listed("in/00.jpg", etag="e2")])
        listing.finish()
    rows = ask(store.refreshed()).sql("select etag from current_objects where key = 'in/00.jpg'").to_pylist()
    assert rows == [{"etag": "e2"}]
