"""WebDataset tars, on disk and on S3: each member that is named as a picture is an image of its own."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from embed.sources import ReadFailed, Source, open_source
from embed.sources.tars import expanded
from store.errors import SourceError
from store.records import ErrorCode
from store.s3 import S3Options
from tests.embedding import all_rows, embed, outcomes
from tests.pictures import picture_bytes
from tests.servers import S3Server
from tests.servers.moto_server import Answer, MotoServer

LONG = f"{'deep/' * 40}é.jpg"  # longer than a tar's own field for names


def tar_bytes(members: Mapping[str, bytes]) -> bytes:
    """A tar of these members, in their order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


SHARDS = {
    "000.tar": tar_bytes({"a.jpg": picture_bytes(1), "a.json": b"{}", "a.txt": b"words", "b.JPG": picture_bytes(2)}),
    "001.tar": tar_bytes({LONG: picture_bytes(3), "empty.png": b"", "c.cls": b"7"}),
}
MEMBERS = ["000.tar/a.jpg", "000.tar/b.JPG", f"001.tar/{LONG}", "001.tar/empty.png"]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with two tars and something else."""
    folder = tmp_path / "my shards"
    folder.mkdir()
    for name, data in SHARDS.items():
        (folder / name).write_bytes(data)
    (folder / "loose.jpg").write_bytes(picture_bytes(9))
    return folder


def everything(source: Source) -> list[str]:
    """The keys of every object, in order."""
    return [one.key for page in source.pages() for one in page]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("x", ["x"]),
        ("{a,b}{0..1}", ["a0", "a1", "b0", "b1"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{000..001}.tar", ["000.tar", "001.tar"]),
    ],
)
def test_braces(pattern: str, expected: list[str]) -> None:
    """Braces stand for names and numbers as in the shell, with leading zeros where they are written."""
    assert expanded(pattern) == expected


@pytest.mark.parametrize("words", ["*.tar", "{000..001}.tar", "0*.tar"])
def test_members_of_a_folder(shards: Path, words: str) -> None:
    """The pictures of every tar are listed in order, whatever their name's length; captions and loose files are not."""
    source = open_source(f"{shards}/{words}", S3Options())
    assert everything(source) == MEMBERS
    first = next(source.pages())[0]
    assert first.uri == f"tar://a.jpg::file://{str(shards).replace(' ', '%20')}/000.tar"
    assert source.fetch(first).data == picture_bytes(1)


def test_one_tar(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single tar is a source by its name, also from within its folder."""
    monkeypatch.chdir(shards)
    assert everything(open_source("001.tar", S3Options())) == MEMBERS[2:]


def test_tar_that_is_missing(shards: Path) -> None:
    """A tar that is called by its number and is not there ends the job: the rest would pass for everything."""
    with pytest.raises(SourceError, match=r"002\.tar does not exist, nor do 1 others"):
        everything(open_source(f"{shards}/{{000..003}}.tar", S3Options()))


def test_members_on_s3(s3: S3Server, bucket: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """Tars on S3 are embedded member by member, a second run reads nothing, and a rewritten tar is read anew."""
    client = s3.client()
    for name, data in SHARDS.items():
        client.put_object(Bucket=bucket, Key=f"in/{name}", Body=data)
    words = (f"s3://{bucket}/in/*.tar", tmp_path, tiny_encoder)
    first = embed(*words)
    assert (first.listed, first.embedded, first.errors) == (4, 3, {"empty": 1})
    expected = dict.fromkeys(MEMBERS, "embedded") | {MEMBERS[3]: "empty"}
    assert outcomes(tmp_path) == expected
    row = next(row for row in all_rows(tmp_path) if row["key"] == "000.tar/a.jpg")
    assert (row["uri"], row["bucket"], row["etag"]) == (f"tar://a.jpg::s3://{bucket}/in/000.tar", None, None)
    assert embed(*words).embedded == 0
    client.put_object(Bucket=bucket, Key="in/000.tar", Body=tar_bytes({"a.jpg": picture_bytes(5)}))
    assert (embed(*words).embedded, len(outcomes(tmp_path))) == (1, 3)


def test_tar_replaced_after_listing(shards: Path) -> None:
    """A member of a tar that was replaced since the listing is `changed`: its place there means nothing any more."""
    source = open_source(f"{shards}/000.tar", S3Options())
    first = next(source.pages())[0]
    (shards / "000.tar").write_bytes(SHARDS["001.tar"])
    with pytest.raises(ReadFailed) as caught:
        source.fetch(first)
    assert caught.value.outcome.error_code == ErrorCode.CHANGED


@pytest.mark.parametrize(
    ("damage", "before"),
    [
        (lambda data: data[:700], 1),  # within the first picture
        (lambda data: data[: len(data) // 2] + b"x" * 600, 2),
        (lambda _: b"no tar" * 200, 0),
        (lambda _: b"", 0),
    ],
    ids=["cut", "overwritten", "none", "empty"],
)
def test_damaged_tar(shards: Path, tiny_encoder: Path, tmp_path: Path, damage: object, before: int) -> None:
    """A damaged tar costs what follows the damage: it has a row that says so, and the other tars are embedded."""
    (shards / "000.tar").write_bytes(damage(SHARDS["000.tar"]))  # type: ignore[operator]
    summary = embed(f"{shards}/*.tar", tmp_path / "store", tiny_encoder)
    found = outcomes(tmp_path / "store")
    assert found["000.tar"] == "corrupt"
    assert (found[MEMBERS[2]], found[MEMBERS[3]]) == ("embedded", "empty")
    assert summary.listed == 3 + before


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((403, "InvalidObjectState"), "archived"),
        ((403, "AccessDenied"), "forbidden"),
        ((404, "NoSuchKey"), "not_found"),
        ((412, "PreconditionFailed"), "changed"),
    ],
)
def test_tar_that_is_held_back(
    s3: MotoServer, bucket: str, tiny_encoder: Path, tmp_path: Path, *, answer: Answer, code: str
) -> None:
    """A tar that S3 holds back is a row with the reason, the others are embedded, and a later job reads its members."""
    for name, data in SHARDS.items():
        s3.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=data)
    s3.faults.append(lambda method, path: answer if (method, path) == ("GET", f"/{bucket}/in/000.tar") else None)
    source = f"s3://{bucket}/in/*.tar"
    embed(source, tmp_path, tiny_encoder)
    others = {f"001.tar/{LONG}": "embedded", "001.tar/empty.png": "empty"}
    assert outcomes(tmp_path) == {"in/000.tar": code, **others}
    s3.reset()
    embed(source, tmp_path, tiny_encoder)
    assert outcomes(tmp_path) == {"000.tar/a.jpg": "embedded", "000.tar/b.JPG": "embedded", **others}


def test_same_name_twice(tmp_path: Path) -> None:
    """Of two members with one name the last counts, as unpacking would leave it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in (1, 2):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(picture_bytes(number))
            tar.addfile(info, io.BytesIO(picture_bytes(number)))
    (tmp_path / "x.tar").write_bytes(file.getvalue())
    source = open_source(f"{tmp_path}/x.tar", S3Options())
    (page,) = source.pages()
    assert [source.fetch(one).data for one in page] == [picture_bytes(2)]


def test_other_tools_open_the_uri(shards: Path) -> None:
    """The URI of a member is one that fsspec opens."""
    import fsspec

    first = next(open_source(f"{shards}/000.tar", S3Options()).pages())[0]
    with fsspec.open(first.uri.replace("%20", " "), "rb") as file:
        assert file.read() == picture_bytes(1)
