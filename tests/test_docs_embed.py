"""docs/embed.md, typed: small buckets, tars, lists and a tiny encoder in the place of the ones that it names."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.cli import embed
from embed.estimate.record import PRICE_PER_GB
from embed.options import shard_of
from tests import buckets
from tests.commands import typed
from tests.embedding import all_rows, outcomes
from tests.inventories import put_inventory
from tests.pictures import picture_bytes
from tests.servers.moto_server import MotoServer
from tests.servers.policy import Policy
from tests.test_source_tars import tar_bytes

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "embed.md").read_text(encoding="utf-8")
BUCKET, INVENTORY = "my-photos", "my-inventory"
TRAIN = ["a b.jpg", "b.jpg", "cats/c.jpg", "cats/thumbs/c.jpg", "note.txt"]

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


def blocks() -> list[str]:
    """Every block of the page, each command in one line."""
    return [text.replace("\\\n", " ") for text in re.findall(r"^```\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)]


def commands() -> list[list[str]]:
    """Every command of the blocks as words; what one leaves out with … is that of the first."""
    found = [shlex.split(line) for text in blocks() for line in text.splitlines() if line.startswith("clipsieve embed")]
    said = {name: found[0][found[0].index(name) + 1] for name in ("--store", "--encoder")}
    return [
        [said[words[place - 1]] if word == "…" else word for place, word in enumerate(words)][1:] for words in found
    ]


def sources() -> dict[str, str]:
    """The table of sources: each word for one with what an image of it is called in the store."""
    rows = re.findall(r"^\| (`.*?) \| .*? \| (.*?) \|$", PAGE, flags=re.MULTILINE)
    return {shlex.split(word)[0]: uri.strip("`") for words, uri in rows for word in re.findall(r"`(.*?)`", words)}


def options() -> list[list[str]]:
    """Every option that the page's text names, with its value where it has one."""
    text = re.sub(r"^```\n.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(words) for words in re.findall(r"`(--[^`]*)`", text)]


def with_tiny(words: list[str], encoder: Path) -> list[str]:
    """The command with a tiny encoder in the place of the named one."""
    return [f"local-dir:{encoder}" if word.startswith("ViT-") else word for word in words]


@pytest.fixture
def _photos(s3: MotoServer) -> Iterator[None]:
    """The buckets that the commands name, with a few objects and an inventory of them."""
    for name in (BUCKET, INVENTORY, "bucket"):
        s3.client().create_bucket(Bucket=name)
    for number, key in enumerate(TRAIN):
        buckets.put(BUCKET, f"train/{key}", b"words" if key == "note.txt" else picture_bytes(number))
    rows = [
        (item["Key"], item["ETag"].strip('"'), "true")
        for item in s3.client().list_objects_v2(Bucket=BUCKET)["Contents"]
    ]
    (manifest,) = (word for words in commands() for word in words if word.endswith("manifest.json"))
    put_inventory(s3, BUCKET, "Parquet", rows, into=INVENTORY, manifest=manifest.removeprefix(f"s3://{INVENTORY}/"))
    yield
    s3.reset()
    for name in (BUCKET, INVENTORY, "bucket"):
        buckets.empty(name)
        s3.client().delete_bucket(Bucket=name)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds what the sources of the page's table are called, as does the bucket `bucket`."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "shards"):
        (tmp_path / name).mkdir()
    (tmp_path / "photos" / "a b.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "one.tar").write_bytes(tar_bytes({"cats/1.jpg": picture_bytes(2)}))
    (tmp_path / "shards" / "000.tar").write_bytes(tar_bytes({"cats/1.jpg": picture_bytes(3)}))
    picture = str(tmp_path / "photos" / "a b.jpg")
    (tmp_path / "photos.csv").write_text(f"uri,stars\n{picture},3\n")
    pq.write_table(pa.table({"uri": [picture], "stars": [3]}), tmp_path / "photos.parquet")
    return tmp_path


WANTED = {  # of the objects below train/, by an option that only one command has
    "--inventory": TRAIN,
    "--include": ["a b.jpg", "b.jpg", "cats/c.jpg"],
    "--sample": TRAIN,
    "--limit": TRAIN,
    "--estimate": [],
}


@only_moto
@pytest.mark.usefixtures("_photos")
@pytest.mark.parametrize("words", commands(), ids=WANTED)
def test_every_command(words: list[str], tiny_encoder: Path) -> None:
    """Each command of the page's blocks ends well, and leaves in the store what it says: all, what it matches, none."""
    asked = typed(*with_tiny(words, tiny_encoder))
    assert asked.exit_code == 0, asked.output
    (wanted,) = (keys for option, keys in WANTED.items() if option in words)
    if wanted:
        found = outcomes(f"s3://{BUCKET}/store")
        assert sorted(found) == [f"train/{key}" for key in wanted]
        assert set(found.values()) <= {"embedded", "not_an_image"}
    else:
        assert f"Transfer out of S3: $0.00 at ${PRICE_PER_GB} per GB" in asked.stdout
        assert buckets.contents(BUCKET, "store") == {}


@only_moto
@pytest.mark.usefixtures("_photos")
def test_what_a_missing_permission_looks_like(s3: MotoServer, tiny_encoder: Path) -> None:
    """Without the right to write the store a job says, word for word, what the page shows."""
    (shown,) = (text for text in blocks() if text.startswith("clipsieve: "))
    names = {"SOURCE-BUCKET": BUCKET, "SOURCE-PREFIX": "train", "STORE-BUCKET": BUCKET, "STORE-PREFIX": "store"}
    policy = Policy.read(ROOT / "deploy" / "iam" / "embed.json", names)
    (grant,) = (one for one in policy.grants if one.action == "s3:PutObject")
    s3.policies.append(policy.without(grant))
    asked = typed(*with_tiny(next(words for words in commands() if "--estimate" in words)[:-1], tiny_encoder))
    assert asked.exit_code == 1
    assert asked.stderr.startswith(shown)


@only_moto
@pytest.mark.usefixtures("_photos")
@pytest.mark.parametrize("word", sources())
def test_every_source_of_the_table(here: Path, word: str, tiny_encoder: Path) -> None:
    """Each word of the table's first column is a source, and its image is called in the store what the last one says.

    Two tars stand for the 128.
    """
    for name in ("000.tar", "001.tar"):
        buckets.put("bucket", name, tar_bytes({"cats/1.jpg": picture_bytes(4)}))
    buckets.put("bucket", "train/a b.jpg", picture_bytes(5))
    buckets.put("bucket", "photos.csv", b"uri\ns3://bucket/train/a b.jpg\n")
    source = word.replace("{000..127}", "{000..001}")
    local = ("--device", "cpu", "--precision", "fp32")
    asked = typed("embed", source, "--store", "store", "--encoder", f"local-dir:{tiny_encoder}", *local)
    assert asked.exit_code == 0, asked.output
    photo = f"file://{here}/photos/a%20b.jpg"  # which the lists here call by its path
    meant = {
        "as the list writes it, a path as `file://…": "s3://bucket/train/a b.jpg"
        if word.startswith("s3://")
        else photo,
        "/home/me": str(here),
        "s3://bucket/000.tar": {
            "one.tar": f"file://{here}/one.tar",
            "shards/*.tar": f"file://{here}/shards/000.tar",
        }.get(word, "s3://bucket/000.tar"),
    }
    said = sources()[word]
    for shown, here_it_is in meant.items():
        said = said.replace(shown, here_it_is)
    assert said in {row["uri"] for row in all_rows(here / "store")}


def test_every_option_is_one() -> None:
    """Every option that the page's text names is accepted, with the value beside it.

    That is all that is checked here of `--engine ray`, which needs Ray, of `--device cuda:1` and `--batch-size 256`,
    which are for GPUs, of `--compile`, which takes minutes, and of `--shard` and `--processes`, which have tests of
    their own.
    """
    known = {name for option in embed.params for name in option.opts}
    named = [words for words in options() if words[0] != "--where"]  # of search and export
    assert {words[0] for words in named} <= known
    valued = [["2" if word == "N" else word for word in words] for words in named if len(words) > 1]
    assert ["--engine", "ray"] in valued
    for words in valued:
        with embed.make_context("embed", ["SOURCE", "--store", "STORE", "--encoder", "RN50", *words]) as asked:
            shard_of(asked.params)


def test_the_extra_is_there() -> None:
    """What the page installs with pip are extras of this project."""
    (words,) = re.findall(r"`pip install 'clipsieve\[(.*?)\]'`", PAGE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {*words.split(",")} <= {*project["optional-dependencies"]}
