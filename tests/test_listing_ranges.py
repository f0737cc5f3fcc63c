"""A listing by many requests at once is the plain one: every key once, in order, whatever the keys look like."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embed.sources import open_source
from embed.sources import s3 as s3_module
from embed.sources.listing.ranges import Page, Question, Ranges
from store.errors import SourceError, UsageError
from store.s3 import S3Options
from tests.inventories import put_inventory
from tests.servers import S3Server


class Bucket:
    """Answers as S3 does, a few keys at a time, and counts."""

    def __init__(self, keys: Sequence[str], page: int = 3, *, ignores_start: bool = False) -> None:
        """Hold these keys, and answer with `page` of them."""
        self.keys, self.page, self.ignores_start = sorted(set(keys), key=str.encode), page, ignores_start
        self.asked = 0

    def ask(self, question: Question) -> Page:
        """One answer of `list_objects_v2`."""
        self.asked += 1
        after = question.token or ("" if self.ignores_start else question.after)
        names: list[tuple[str, bool]] = []
        for key in self.keys:
            folder, slash, _ = key.removeprefix("in/").partition("/")
            name = (f"in/{folder}/", True) if question.folders and slash else (key, False)
            if key > after and (not names or names[-1] != name):
                names.append(name)
        shown = names[: self.page]
        last = shown[-1][0] + ("\U0010ffff" if shown[-1][1] else "") if shown else ""
        items = [{"Key": name} for name, is_folder in shown if not is_folder]
        folders = tuple(name for name, is_folder in shown if is_folder)
        return Page(items, last if len(names) > self.page else None, folders)


def listed(bucket: Bucket, listers: int = 8) -> list[str]:
    """Every key, in the order in which it came."""
    return [item["Key"] for page in Ranges("in/", bucket.ask, listers).pages() for item in page]


keys = st.lists(st.text("019az/\U0001f600é-", max_size=6).map(lambda key: f"in/{key}"), max_size=60)


@given(keys=keys, page=st.integers(1, 7), listers=st.integers(1, 12), ignores_start=st.booleans())
@settings(max_examples=150)
def test_same_as_the_plain_listing(keys: list[str], page: int, listers: int, *, ignores_start: bool) -> None:
    """Whatever the keys, the size of an answer and the number of requests: every key, once, in order."""
    bucket = Bucket(keys, page, ignores_start=ignores_start)
    assert listed(bucket, listers) == bucket.keys


@pytest.mark.parametrize(
    "keys",
    [
        [f"in/{k:06}.jpg" for k in range(3000)],
        [f"in/{k // 100:04}/{k:06}.jpg" for k in range(3000)],
        [f"in/{k}/a.jpg" for k in range(3000)],
        [f"in/{hash_:08x}" for hash_ in (k * 2654435761 % 2**32 for k in range(3000))],
        ["in/" + "deep/" * 30 + f"{k:05}" for k in range(3000)],
    ],
    ids=["numbers", "folders", "a folder each", "hashes", "deep"],
)
def test_requests_stay_few_and_run_side_by_side(keys: list[str]) -> None:
    """Cutting costs little: at most two thirds again of the requests that one after the other takes."""
    bucket = Bucket(keys, 10)
    assert listed(bucket) == bucket.keys
    assert bucket.asked < 5 / 3 * len(keys) / 10


@pytest.mark.parametrize("answers", [1, 2, 4])
def test_small_prefixes_are_not_cut(answers: int) -> None:
    """What fits a few answers costs these and no more."""
    bucket = Bucket([f"in/{k:02}" for k in range(3 * answers)])
    assert (listed(bucket), bucket.asked) == (bucket.keys, answers)


def test_refusal_ends_the_listing() -> None:
    """An error of any of the requests is raised, and nothing goes on behind."""
    bucket = Bucket([f"in/{k:04}" for k in range(500)])

    def ask(question: Question) -> Page:
        if bucket.asked > 20:
            raise SourceError("no more")
        return bucket.ask(question)

    with pytest.raises(SourceError, match="no more"):
        list(Ranges("in/", ask).pages())


def test_real_servers(s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real server the order and the keys are those of its own listing."""
    names = [f"in/{k % 4}/{k:03}" for k in range(40)] + ["in/x", "in/é", "in/z z/y"]
    for name in names:
        s3.client().put_object(Bucket=bucket, Key=name, Body=b"x")
    monkeypatch.setattr(s3_module, "PAGE_KEYS", 3)
    source = open_source(f"s3://{bucket}/in/", S3Options())
    assert [one.key for page in source.pages() for one in page] == sorted(names)


# Inventories


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_inventory_is_the_listing(s3: S3Server, bucket: str, kind: str) -> None:
    """From an inventory come the objects that the prefix itself would list, with their ids; older versions do not."""
    for key in ("in/a b.jpg", "in/é.jpg", "out/c.jpg"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=b"1234567")
    plain = {one.key: one for page in open_source(f"s3://{bucket}/in/", S3Options()).pages() for one in page}
    etag = plain["in/é.jpg"].revision
    rows = [
        ("in/é.jpg", etag, "true"),
        ("out/c.jpg", etag, "true"),
        ("in/a b.jpg", etag, "true"),
        ("in/a b.jpg", "old", "false"),
    ]
    manifest = put_inventory(s3, bucket, kind, rows)
    source = open_source(f"s3://{bucket}/in/", S3Options(), inventory=manifest)
    found = {one.key: one for page in source.pages() for one in page}
    assert {key: one.image_id for key, one in found.items()} == {key: one.image_id for key, one in plain.items()}
    assert all(source.fetch(one).data == b"1234567" for one in found.values())
    assert {one.size_bytes for one in found.values()} == {7}


def test_inventory_on_disk(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """An inventory that was copied to a folder works from there."""
    put_inventory(s3, bucket, "CSV", [("in/a.jpg", "e1", "true")])
    for key in ("inv/2026/manifest.json", "inv/data/1"):
        (tmp_path / key.rpartition("/")[2]).write_bytes(s3.client().get_object(Bucket=bucket, Key=key)["Body"].read())
    source = open_source(f"s3://{bucket}/in/", S3Options(), inventory=f"{tmp_path}/manifest.json")
    assert [one.key for page in source.pages() for one in page] == ["in/a.jpg"]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"sourceBucket": "another"}, "is an inventory of s3://another/"),
        ({"fileFormat": "ORC"}, "is an inventory in ORC"),
        ({"fileSchema": "Bucket, Key, Size"}, "does not say ETag, LastModifiedDate"),
    ],
)
@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_inventory_of_no_use(s3: S3Server, bucket: str, other: dict[str, str], said: str) -> None:
    """An inventory of something else, or without what names an image, is refused before anything is listed."""
    manifest = put_inventory(s3, bucket, "CSV", [], **other)
    with pytest.raises(UsageError, match=said):
        open_source(f"s3://{bucket}/in/", S3Options(), inventory=manifest)
    with pytest.raises(UsageError, match="lists a prefix of S3"):
        open_source("/tmp", S3Options(), inventory=manifest)  # noqa: S108  # a folder that is there
    with pytest.raises(UsageError, match="no manifest of an S3 Inventory"):
        open_source(f"s3://{bucket}/in/", S3Options(), inventory=f"s3://{bucket}/inv/data/1")
