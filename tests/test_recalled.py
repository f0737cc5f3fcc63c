"""Tars that are what they were are not read again to list them; what is listed is the same as if they were."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.sources import Selection, open_source, recalling
from embed.sources.folder import FolderSource
from embed.sources.listing.recalled import RecalledTars
from embed.sources.tars import TarSource
from store import listings as listings_module
from store import parts as parts_module
from store.errors import NotNow, StoreDamaged
from store.last_listing import last_whole_listing
from store.layout import EncoderStore
from store.listings import ListingWriter
from store.location import FolderLocation
from store.records import SourceObject
from store.s3 import S3Options
from store.schema import objects_table
from tests.embedding import all_rows, embed, outcomes, shelf
from tests.pictures import picture_bytes
from tests.servers.moto_server import MotoServer
from tests.stores import files_of, new_store, run_id
from tests.test_source_tars import tar_bytes

NAMES = [f"{number}.jpg" for number in range(5)]


def write_tar(folder: Path, name: str, members: list[str], damage: bytes = b"") -> None:
    """A tar of one-byte pictures; `damage` stands in the place of its end."""
    data = tar_bytes(dict.fromkeys(members, b"x"))
    (folder / name).write_bytes(data.rstrip(b"\0") + bytes(511) + damage * 600 if damage else data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three tars, of which one is damaged."""
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in", "0.tar", NAMES)
    write_tar(tmp_path / "in", "1.tar", NAMES[:2], b"?")
    write_tar(tmp_path / "in", "2.tar", ["note.txt", *NAMES[2:]])
    return tmp_path / "in"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the tars whose headers are read from here on."""
    names: list[str] = []
    whole = TarSource._read

    def noted(self: TarSource, tar: SourceObject) -> list[SourceObject]:
        names.append(tar.key)
        return whole(self, tar)

    monkeypatch.setattr(TarSource, "_read", noted)
    return names


def look(folder: Path, store: EncoderStore, run: int, selection: Selection | None = None) -> list[SourceObject]:
    """List the tars as a job does: with what the store knows, and into it."""
    source = recalling(open_source(f"{folder}/*.tar", S3Options(), selection or Selection()), store.refreshed())
    with ListingWriter(store.refreshed(), source.uri, run_id(run), source.covers) as listing:
        found = [one for page in source.pages() for one in page]
        listing.add(found)
        listing.finish()
    return found


def plainly(folder: Path) -> list[SourceObject]:
    """What the tars hold, read from them."""
    return [one for page in open_source(f"{folder}/*.tar", S3Options()).pages() for one in page]


def test_second_look_reads_no_tar(folder: Path, tmp_path: Path, read: list[str]) -> None:
    """Of tars that are the same nothing is read but of the damaged one; the objects and their order are the same."""
    store = new_store(tmp_path / "store")
    first = look(folder, store, 1)
    assert sorted(read) == ["0.tar", "1.tar", "2.tar"]
    before = files_of(tmp_path / "store")
    read.clear()
    assert look(folder, store, 2) == first
    assert read == ["1.tar"]
    assert files_of(tmp_path / "store") == before
    read.clear()
    assert len(look(folder, store, 3, Selection(include=("0.tar/*",)))) == len(NAMES)
    assert read == ["1.tar"]


def test_tars_that_change(folder: Path, tmp_path: Path, read: list[str]) -> None:
    """A tar that was rewritten, mended or added is read, one that is gone is not listed, and the rest is recalled."""
    store = new_store(tmp_path / "store")
    look(folder, store, 1)
    write_tar(folder, "0.tar", NAMES[1:])
    write_tar(folder, "1.tar", NAMES)
    (folder / "2.tar").rename(folder / "3.tar")
    read.clear()
    found = look(folder, store, 2)
    assert sorted(read) == ["0.tar", "1.tar", "3.tar"]
    assert [one.key for one in found] == [
        *(f"0.tar/{name}" for name in NAMES[1:]),
        *(f"1.tar/{name}" for name in NAMES),
        *(f"3.tar/{name}" for name in NAMES[2:]),
    ]
    read.clear()
    assert look(folder, store, 3) == found
    assert read == []


@pytest.mark.parametrize("part", [Selection(limit=2), Selection(sample=3), Selection(include=("*/0.jpg",))])
def test_look_at_a_part_knows_no_tar(folder: Path, tmp_path: Path, read: list[str], part: Selection) -> None:
    """What a look at a part has listed is not taken for all that a tar holds, neither before a whole look nor after."""
    store, whole = new_store(tmp_path / "store"), plainly(folder)
    read.clear()
    look(folder, store, 1, part)
    assert look(folder, store, 2) == whole
    assert read.count("2.tar") >= 1, "which the look at a part has seen no more of than it wanted"
    read.clear()
    look(folder, store, 3, part)
    assert look(folder, store, 4) == whole
    assert {*read} == {"1.tar"}, "which is damaged"


def test_whole_look_after_a_part_that_was_all(folder: Path, tmp_path: Path) -> None:
    """A whole look that finds what a look at a part had found is written once, since it says more, and not twice."""
    store = new_store(tmp_path / "store")
    counts = []
    for run, selection in enumerate((Selection(limit=99), None, None, Selection(limit=99)), start=1):
        look(folder, store, run, selection)
        counts.append(len(store.refreshed().parts("listings")))
    assert counts == [1, 2, 2, 2]


@given(
    tars=st.lists(st.lists(st.sampled_from(NAMES), max_size=4, unique=True), min_size=1, max_size=6),
    rows=st.integers(1, 7),
)
@settings(max_examples=15)
def test_recalled_is_what_would_be_read(
    tmp_path_factory: pytest.TempPathFactory, tars: list[list[str]], rows: int
) -> None:
    """Whatever tars hold, and wherever the row groups of the listing end, what is recalled is what they hold."""
    place = tmp_path_factory.mktemp("tars")
    (place / "in").mkdir()
    for number, members in enumerate(tars):
        write_tar(place / "in", f"{number}.tar", members)
    store = new_store(place / "store")
    with pytest.MonkeyPatch.context() as patched:
        for module in (parts_module, listings_module):
            patched.setattr(module, "ROW_GROUP_ROWS", rows)
        first = look(place / "in", store, 1)
        assert look(place / "in", store, 2) == first == plainly(place / "in")


def test_listing_is_never_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long listing little is in memory at any moment while all of its tars are recalled."""
    (tmp_path / "in").mkdir()
    for number in range(40):
        write_tar(tmp_path / "in", f"{number:02}.tar", [f"{name}.jpg" for name in range(50)])
    store = new_store(tmp_path / "store")
    for module in (parts_module, listings_module):
        monkeypatch.setattr(module, "ROW_GROUP_ROWS", 50)
    found = look(tmp_path / "in", store, 1)
    source = f"file://{tmp_path}/in/*.tar"
    listing = last_whole_listing(store.refreshed(), source)
    assert listing is not None
    with listing:
        tars = RecalledTars(listing)
        before, most = pa.total_allocated_bytes(), 0
        for page in FolderSource(tmp_path / "in").pages():
            for tar in page:
                assert tars.members(tar) == [one for one in found if one.uri.endswith(tar.uri)]
                most = max(most, pa.total_allocated_bytes() - before)
    assert most < objects_table(found, "run").nbytes / 4


@pytest.mark.parametrize("name", ["a::s3://b/c.jpg", "::file://x.jpg"])
def test_name_that_could_be_a_tar(tmp_path: Path, name: str) -> None:
    """A member whose name looks like the end of a member's URI is not lost from a tar that is recalled."""
    (tmp_path / "in").mkdir()
    write_tar(tmp_path / "in", "0.tar", ["a.jpg", name])
    store = new_store(tmp_path / "store")
    assert look(tmp_path / "in", store, 1) == look(tmp_path / "in", store, 2)


def test_store_that_is_away(folder: Path, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer knows nothing for now: the tars are read."""
    store = new_store(tmp_path / "store")
    first = look(folder, store, 1)
    plain = FolderLocation.open

    def away(self: FolderLocation, name: str) -> object:
        if name.startswith("listings/"):
            raise NotNow("The store is away.")
        return plain(self, name)

    source = recalling(open_source(f"{folder}/*.tar", S3Options()), store.refreshed())
    read.clear()
    monkeypatch.setattr(FolderLocation, "open", away)
    assert [one for page in source.pages() for one in page] == first
    assert sorted(read) == ["0.tar", "1.tar", "2.tar"]


def test_damaged_listing(folder: Path, tmp_path: Path) -> None:
    """A listing that cannot be read is named, with the way out, before anything is listed."""
    store = new_store(tmp_path / "store")
    look(folder, store, 1)
    (name,) = store.refreshed().parts("listings")
    store.location.write(name, b"PAR1 no more")
    with pytest.raises(StoreDamaged, match="the source is listed anew"):
        look(folder, store, 2)


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_second_run_asks_s3_nothing_about_members(
    s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    """A second run makes no request for a tar that is the same, and embeds what is in a new one."""
    for number in range(3):
        s3.client().put_object(Bucket=bucket, Key=f"in/{number}.tar", Body=tar_bytes({"a.jpg": picture_bytes(number)}))
    words = (f"s3://{bucket}/in/*.tar", tmp_path, tiny_encoder)
    embed(*words)
    s3.client().put_object(Bucket=bucket, Key="in/3.tar", Body=tar_bytes({"a.jpg": picture_bytes(4)}))
    s3.requests.clear()
    assert (embed(*words).listed, len(all_rows(tmp_path))) == (4, 4)
    asked = Counter(path.rpartition("/")[2] for method, path, *_ in s3.requests if method == "GET" and ".tar" in path)
    assert asked.keys() <= {"0.tar", "1.tar", "2.tar", "3.tar"}
    assert max(asked[f"{number}.tar"] for number in range(3)) <= 1, "the preflight reads a byte of each"
    assert set(outcomes(tmp_path).values()) == {"embedded"}
    assert len(shelf(tmp_path).parts("listings")) == 2
