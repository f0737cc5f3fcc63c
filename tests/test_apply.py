"""`apply --to`: the destination holds exactly the kept, unchanged images, and nothing of anybody else is touched."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipsieve
from query.deliver.apply.copies import ApplyOptions
from query.deliver.apply.journal import COPIES, Journal, apply_folder
from query.deliver.apply.plan import Plan, Prices
from store.errors import LocationError, RunDamaged, UsageError
from store.location import FolderLocation
from store.pace import Pace
from store.records import SourceObject
from store.s3.copying.records import CopyOptions
from tests import buckets
from tests.commands import typed
from tests.runs import row_of, write_run
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.stores import add_part, ask, embedded, list_source, new_store, put_scores

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ODD_KEYS = [
    "with space.jpg",
    "plus+percent%25%.jpg",
    "ünï/日本語/😀.jpg",
    "tab\tin.jpg",
    "q?a=1&b=2#c.jpg",
    'quote"s,x.jpg',
]
KEYS_OF_NO_FOLDER = ["/leading.jpg", "two//slashes.jpg", "new\nline.jpg"]
TRUSTED = ApplyOptions(honours_conditions=True)

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)
both_ways = pytest.mark.parametrize("options", [ApplyOptions(), TRUSTED], ids=["asking first", "by conditions"])


def content(key: str) -> bytes:
    """The bytes of an object, different for each key."""
    return f"picture {key}".encode()


def fill(client: "S3Client", bucket: str, keys: Iterable[str], prefix: str = "in/") -> list[dict[str, Any]]:
    """Put objects below a prefix; return the rows of a manifest that keeps them."""
    rows = []
    for key in keys:
        client.put_object(Bucket=bucket, Key=prefix + key, Body=content(key), ContentType="image/jpeg")
        rows.append(row_of(bucket, prefix + key, content(key)))
    return rows


def applied(run: Path | str, to: str, options: ApplyOptions = TRUSTED) -> Plan:
    """Apply a run; return how everything stands then."""
    with clipsieve.open_run(str(run)).copies(to, options) as job:
        job.plan()
        return job.carry_out()


def states(plan: Plan) -> dict[str, int]:
    """How many images stand how."""
    return {name: count.objects for name, count in plan.states.items()}


def held(client: "S3Client", bucket: str, prefix: str) -> dict[str, bytes]:
    """Every object below a prefix, by its key below it, with its bytes."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {key[len(prefix) :]: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def outcomes(run: Path) -> list[str]:
    """What the journal says, in order."""
    names = sorted(run.glob("apply/*/journal/*.parquet"))
    return [outcome for name in names for outcome in pq.read_table(name)["outcome"].to_pylist()]


@pytest.fixture
def client(s3: S3Server, bucket: str) -> "S3Client":
    """A client of the server under test; the bucket is there."""
    return s3.client()


def test_what_is_kept_and_unchanged_is_copied(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """The destination holds the kept images that are as they were judged, byte for byte; the rest is named; exit 3."""
    rows = fill(client, bucket, [*ODD_KEYS, "changed.jpg", "gone.jpg"])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    client.put_object(Bucket=bucket, Key="in/changed.jpg", Body=b"another picture")
    client.delete_object(Bucket=bucket, Key="in/gone.jpg")
    source = held(client, bucket, "in/")

    done = typed("apply", str(run), "--to", f"s3://{bucket}/cleaned/train", "--yes")

    assert held(client, bucket, "cleaned/train/") == {key: content(key) for key in ODD_KEYS}
    assert held(client, bucket, "in/") == source
    size = sum(len(content(key)) for key in ODD_KEYS)
    assert f"holds {len(ODD_KEYS)} of the {len(rows)} images" in done.stdout
    assert f", {size:,} of " in done.stdout
    assert (
        f"in/changed.jpg: changed at the source since it was judged\n  s3://{bucket}/in/gone.jpg: vanished"
        in done.stderr
    )
    assert done.exit_code == 3


@only_moto
@both_ways
def test_keys_that_no_folder_holds(client: "S3Client", bucket: str, tmp_path: Path, options: ApplyOptions) -> None:
    """Leading slashes, empty parts and line breaks of a key arrive as they are."""
    rows = fill(client, bucket, KEYS_OF_NO_FOLDER)
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    done = applied(run, f"s3://{bucket}/out/", options)
    assert held(client, bucket, "out/") == {key: content(key) for key in KEYS_OF_NO_FOLDER}
    assert done.is_clean


def test_a_plan_changes_nothing(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Without --yes the requests and their price are shown; neither bucket nor run is written to."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))
    files = sorted(run.rglob("*"))
    price = ("--price-per-1000-requests", "5000", "--price-per-1000-reads", "1000")
    shown = typed("apply", str(run), "--to", f"s3://{bucket}/out/", *price)
    assert "2 objects, 0.0 MB; about 2 COPY, 4 HEAD, 2 LIST requests, $24.00" in shown.stdout
    assert "add --yes" in shown.stdout
    assert shown.exit_code == 0
    assert (held(client, bucket, "out/"), sorted(run.rglob("*"))) == ({}, files)


def test_the_price_is_that_of_the_requests() -> None:
    """Copies, uploads and listings cost the one price, looks at an object the other; storage is by the gigabyte."""
    from query.deliver.apply.plan import Count

    plan = Plan("s3://b/", {"to_copy": Count(10, 2**31)}, Count(), None, {"COPY": 900, "LIST": 100, "HEAD": 2000})
    assert plan.cost(Prices(2.0, 0.5, 0.1)) == pytest.approx(2.0 + 1.0)
    assert plan.cost_per_month(Prices(2.0, 0.5, 0.1)) == pytest.approx(0.2)


@only_moto
def test_applied_twice(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """What is there already is not copied again."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))
    applied(run, f"s3://{bucket}/out/")
    s3.reset()
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": 2}
    assert {request.method for request in s3.requests} == {"GET"}  # listings


@both_ways
@only_moto
def test_what_stands_at_the_destination_stays(
    client: "S3Client", bucket: str, tmp_path: Path, options: ApplyOptions
) -> None:
    """An equal object at the destination need not be copied; another one is not replaced, and is named."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg", "c.jpg"]))
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=content("a.jpg"))
    client.put_object(Bucket=bucket, Key="out/b.jpg", Body=b"precious")
    client.put_object(Bucket=bucket, Key="out/other.txt", Body=b"notes")
    done = applied(run, f"s3://{bucket}/out/", options)
    assert states(done) == {"already_there": 1, "occupied": 1, "copied": 1}
    assert (done.others.objects, done.other_example, done.is_clean) == (1, "out/other.txt", False)
    assert held(client, bucket, "out/")["b.jpg"] == b"precious"


@both_ways
@only_moto
def test_somebody_writes_the_key_at_the_same_moment(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path, options: ApplyOptions
) -> None:
    """An object that comes to a key between the listing and the copy is not replaced."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))

    def somebody_is_quicker(_method: str, path: str) -> None:
        if path.endswith("/in/a.jpg" if not options.honours_conditions else "/out/a.jpg"):
            buckets.put(bucket, "out/a.jpg", b"precious")

    with clipsieve.open_run(str(run)).copies(f"s3://{bucket}/out/", options) as job:
        job.plan()
        buckets.put(bucket, "out/a.jpg", b"precious")
        done = job.carry_out()
    assert states(done) == {"occupied": 1, "copied": 1}
    assert held(client, bucket, "out/") == {"a.jpg": b"precious", "b.jpg": content("b.jpg")}


@only_moto
def test_a_service_that_is_busy(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """503, 500 and the error that CopyObject puts into an answer of 200 are tried again."""
    keys = [f"{k}.jpg" for k in range(9)]
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, keys))
    lock = threading.Lock()
    faults = [(503, "SlowDown"), (500, "InternalError"), (200, "InternalError"), (200, "SlowDown")] * 2

    def busy(method: str, path: str) -> tuple[int, str] | None:
        with lock:
            return faults.pop() if method == "PUT" and "/out/" in path and faults else None

    s3.faults.append(busy)
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": len(keys)}
    assert faults == []


@only_moto
def test_an_answer_that_is_lost(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """A copy that was made although its answer was an error is known as ours, and not made twice."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))
    lost: list[tuple[int, str] | None] = [(500, "InternalError"), (503, "SlowDown")]
    s3.late_faults.append(lambda method, _: lost.pop() if method == "PUT" and lost else None)
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": 2}
    assert [len(found) for key, found in buckets.versions(bucket).items() if key.startswith("out/")] == [1, 1]
    assert typed("undo", str(run), "--yes", "--trust-conditions").exit_code == 0
    assert held(client, bucket, "out/") == {}


@only_moto
def test_a_service_that_stays_busy(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object that fails at each attempt is reported; the others are copied."""
    monkeypatch.setattr("store.s3.copying.copier._LONGEST_PAUSE_S", 0.0)
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))
    s3.faults.append(
        lambda method, path: (500, "InternalError") if (method, path[-9:]) == ("PUT", "out/a.jpg") else None
    )
    done = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--trust-conditions")
    assert "in/a.jpg: failed (InternalError at each of 10 attempts)" in done.stderr
    assert (done.exit_code, set(held(client, bucket, "out/"))) == (3, {"b.jpg"})


@only_moto
def test_one_object_that_is_forbidden(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """An object that may not be read is reported with S3's words; the others are copied."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, [f"{k}.jpg" for k in range(5)]))
    s3.faults.append(
        lambda method, path: (403, "AccessDenied") if (method, path[-9:]) == ("PUT", "out/4.jpg") else None
    )
    done = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--trust-conditions")
    assert "in/4.jpg: forbidden (AccessDenied This fault" in done.stderr
    assert (done.exit_code, len(held(client, bucket, "out/"))) == (3, 4)


@only_moto
def test_nothing_is_allowed(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Where every copy is refused the job ends at once, with S3's words."""
    run = write_run(
        tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, [f"{k}.jpg" for k in range(120)])
    )
    s3.reset()
    s3.faults.append(lambda method, _: (403, "AccessDenied") if method == "PUT" else None)
    done = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--trust-conditions", "--workers", "4")
    assert done.exit_code == 1
    assert "Cannot copy s3://" in done.stderr
    assert "AccessDenied This fault was asked for by the test." in done.stderr
    assert sum(method == "PUT" for method, *_ in s3.requests) < 60


@only_moto
def test_credentials_that_end(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """What is no fault of an object ends the job with a way out; what was copied is recorded, the rest comes later."""
    run = write_run(
        tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, [f"{k:03}.jpg" for k in range(40)])
    )
    copied: list[str] = []

    def expire(method: str, path: str) -> tuple[int, str] | None:
        if method == "PUT" and len(copied) >= 10:
            return 400, "ExpiredToken"
        copied.extend([path] if method == "PUT" else [])
        return None

    s3.faults.append(expire)
    with pytest.raises(LocationError, match=r"ExpiredToken.*Renew the credentials"):
        applied(run, f"s3://{bucket}/out/")
    assert outcomes(run).count("copied") == len(held(client, bucket, "out/")) == 10
    s3.faults.clear()
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": 40}


@only_moto
def test_what_an_object_says_of_itself_is_kept(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Content type, metadata and tags are copied; without tags on request; the class is what is asked for."""
    body: dict[str, Any] = {"Bucket": bucket, "Key": "in/a.jpg", "Body": b"picture", "StorageClass": "STANDARD_IA"}
    headers: dict[str, Any] = {
        "ContentType": "image/webp",
        "CacheControl": "max-age=5",
        "Metadata": {"camera": "X100"},
        "Tagging": "who=me",
    }
    client.put_object(**body, **headers)
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=[row_of(bucket, "in/a.jpg", b"picture")])
    ways = {
        "plain": CopyOptions(),
        "bare": CopyOptions(tags=False, storage_class="ONEZONE_IA", encryption="AES256"),
        "kept": CopyOptions(storage_class="keep", encryption="keep"),
    }
    for name, way in ways.items():
        applied(run, f"s3://{bucket}/{name}/", ApplyOptions(way, honours_conditions=True))
        said = client.head_object(Bucket=bucket, Key=f"{name}/a.jpg")
        assert (said["ContentType"], said["CacheControl"], said["Metadata"]) == (
            "image/webp",
            "max-age=5",
            {"camera": "X100"},
        )
    classes = [client.head_object(Bucket=bucket, Key=f"{name}/a.jpg").get("StorageClass") for name in ways]
    assert classes == [None, "ONEZONE_IA", "STANDARD_IA"]
    tags = [client.get_object_tagging(Bucket=bucket, Key=f"{name}/a.jpg")["TagSet"] for name in ways]
    assert tags == [[{"Key": "who", "Value": "me"}], [], [{"Key": "who", "Value": "me"}]]


IN_PARTS = ApplyOptions(CopyOptions(parts_above_bytes=2**20, part_bytes=5 * 2**20), honours_conditions=True)


@pytest.fixture
def large(client: "S3Client", bucket: str) -> bytes:
    """An object of three parts at `in/large.jpg`, with headers, metadata and tags."""
    data = random.Random(1).randbytes(12 * 2**20)
    client.put_object(
        Bucket=bucket,
        Key="in/large.jpg",
        Body=data,
        ContentType="image/tiff",
        ContentDisposition="inline",
        Metadata={"camera": "X100"},
        Tagging="who=me&what=a%20b",
    )
    return data


@only_moto
def test_a_large_object_is_copied_in_parts(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path, large: bytes
) -> None:
    """Beyond the limit an object is copied in parts, with what CopyObject keeps by itself; undo takes it back."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=[row_of(bucket, "in/large.jpg", large)])
    s3.reset()
    assert states(applied(run, f"s3://{bucket}/out/", IN_PARTS)) == {"copied": 1}
    assert len([request for request in s3.requests if "partNumber" in request.query]) == 3
    assert held(client, bucket, "out/") == {"large.jpg": large}
    said = client.head_object(Bucket=bucket, Key="out/large.jpg")
    assert (said["ContentType"], said["ContentDisposition"]) == ("image/tiff", "inline")
    assert said["Metadata"] == {"camera": "X100"}
    tags = client.get_object_tagging(Bucket=bucket, Key="out/large.jpg")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"who": "me", "what": "a b"}
    assert states(applied(run, f"s3://{bucket}/out/", IN_PARTS)) == {"copied": 1}
    assert typed("undo", str(run), "--yes", "--trust-conditions").exit_code == 0
    assert held(client, bucket, "out/") == {}


@only_moto
def test_a_large_object_changes_while_it_is_copied(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path, large: bytes
) -> None:
    """Replaced between two parts, a large object is reported as changed, and nothing of the upload is left."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=[row_of(bucket, "in/large.jpg", large)])
    parts: list[str] = []

    def replace_it(method: str, path: str) -> None:
        if method == "PUT" and "/out/" in path:
            parts.append(path)
            if len(parts) == 2:
                buckets.put(bucket, "in/large.jpg", large[::-1])

    s3.faults.append(replace_it)
    assert states(applied(run, f"s3://{bucket}/out/", IN_PARTS)) == {"changed": 1}
    assert held(client, bucket, "out/") == {}
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


def test_places_that_are_refused(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Neither source, store nor run may lie where copies go, or hold that place; and it must be a bucket."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg"]))
    for to in (f"s3://{bucket}/", f"s3://{bucket}/in", f"s3://{bucket}/in/deeper/"):
        with pytest.raises(UsageError, match="overlaps the source"):
            applied(run, to)
    with pytest.raises(UsageError, match="--in-place"):
        applied(run, str(tmp_path / "out"))
    on_s3 = f"s3://{bucket}/cleaned/manifests/run"
    for file in run.iterdir():
        client.upload_file(str(file), bucket, f"cleaned/manifests/run/{file.name}")
    with pytest.raises(UsageError, match="overlaps the run"):
        applied(on_s3, f"s3://{bucket}/cleaned/")
    metadata = json.loads((run / "run_metadata.json").read_text())
    metadata["store"] = f"s3://{bucket}/store/encoder=tiny"
    (run / "run_metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(UsageError, match="overlaps the store"):
        applied(run, f"s3://{bucket}/store/cleaned/")
    assert set(held(client, bucket, "")) == {
        "in/a.jpg",
        *(f"cleaned/manifests/run/{file.name}" for file in run.iterdir()),
    }


@only_moto
def test_two_images_for_one_key(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Two sources with a key in common are refused before anything is copied; --whole-keys keeps them apart."""
    rows = [*fill(client, bucket, ["a.jpg"], "one/"), *fill(client, bucket, ["a.jpg", "b.jpg"], "two/")]
    run = write_run(tmp_path / "run", [f"s3://{bucket}/one/", f"s3://{bucket}/two/"], kept=rows)
    refused = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes")
    assert refused.exit_code == 2
    assert "1 keys would be written by more than one image, for example 'out/a.jpg'" in refused.stderr
    done = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--whole-keys")
    assert done.exit_code == 0, done.stderr
    assert set(held(client, bucket, f"out/{bucket}/")) == {"one/a.jpg", "two/a.jpg", "two/b.jpg"}


@only_moto
def test_sources_in_several_buckets_and_inside_one_another(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path
) -> None:
    """A key loses the prefix of the innermost source that holds it."""
    other = f"{bucket}-2"
    client.create_bucket(Bucket=other)
    rows = [
        *fill(client, bucket, ["a.jpg"], "in/"),
        *fill(client, bucket, ["b.jpg"], "in/deep/"),
        *fill(client, other, ["c.jpg"], ""),
    ]
    sources = [f"s3://{bucket}/in/", f"s3://{other}/", f"s3://{bucket}/in/deep/"]
    run = write_run(tmp_path / "run", sources, kept=rows)
    assert applied(run, f"s3://{bucket}/out/").is_clean
    assert set(held(client, bucket, "out/")) == {"a.jpg", "b.jpg", "c.jpg"}
    client.delete_object(Bucket=other, Key="c.jpg")
    client.delete_bucket(Bucket=other)


@only_moto
def test_what_export_has_written(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """From a store, through `export`, to a destination that holds what the rule keeps, and lacks what it removes."""
    source = f"s3://{bucket}/in/"
    keys = [*ODD_KEYS, *KEYS_OF_NO_FOLDER]
    fill(client, bucket, keys)
    listing = client.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]
    objects = [
        SourceObject(
            source=source,
            uri=f"s3://{bucket}/{found['Key']}",
            bucket=bucket,
            key=found["Key"],
            etag=found["ETag"].strip('"'),
            revision=found["ETag"].strip('"'),
            size_bytes=found["Size"],
            last_modified=found["LastModified"],
        )
        for found in listing
    ]
    store = new_store(tmp_path / "store")
    list_source(store, objects, source=source)
    add_part(store, [embedded(one) for one in objects])
    scored = put_scores(store, {"people": {f"in/{key}": 0.9 for key in keys[:2]}}, default=0.1)
    run = ask(scored).export(str(tmp_path / "run"), remove=["people >= 0.5"])
    assert run.removed == 2
    assert applied(run.place, f"s3://{bucket}/out/").is_clean
    assert held(client, bucket, "out/") == {key: content(key) for key in keys[2:]}


@only_moto
def test_keys_that_cannot_be(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """A key beyond 1,024 bytes of UTF-8 and an image outside the sources are refused before anything is copied."""
    long = row_of(bucket, "in/" + "é" * 500, b"x")
    with pytest.raises(UsageError, match="longer than the 1,024 bytes"):
        applied(
            write_run(tmp_path / "long", [f"s3://{bucket}/in/"], kept=[long]),
            f"s3://{bucket}/a-prefix-of-25-characters/",
        )
    outside = row_of(bucket, "elsewhere/a.jpg", b"x")
    with pytest.raises(UsageError, match="outside the run's sources"):
        applied(write_run(tmp_path / "outside", [f"s3://{bucket}/in/"], kept=[outside]), f"s3://{bucket}/out/")
    file = {**row_of(bucket, "a.jpg", b"x"), "uri": "file:///photos/a.jpg", "bucket": None}
    with pytest.raises(UsageError, match="no objects of a bucket"):
        applied(write_run(tmp_path / "file", ["file:///photos/"], kept=[file]), f"s3://{bucket}/out/")
    assert held(client, bucket, "") == {}


@only_moto
def test_images_that_were_imported(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Without the etag or the size nobody could say what was judged: nothing is copied, and a sentence says why."""
    rows = fill(client, bucket, ["a.jpg", "b.jpg"])
    for number, unknown in enumerate(({"etag": None}, {"size_bytes": None})):
        run = write_run(tmp_path / f"{number}", [f"s3://{bucket}/in/"], kept=[rows[0], {**rows[1], **unknown}])
        done = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes")
        assert done.exit_code == 2
        assert f"Of 1 kept images no etag or no size is known, for example of s3://{bucket}/in/b.jpg" in done.stderr
        assert "Import them with their etag and size_bytes" in done.stderr
    assert held(client, bucket, "out/") == {}


@only_moto
def test_a_run_that_was_edited(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """A manifest that was changed, or is missing, is found before anything is copied; so is a folder that is no run."""
    rows = fill(client, bucket, ["a.jpg", "b.jpg"])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    (run / "kept.csv").write_text((run / "kept.csv").read_text().replace("in/b.jpg", "in/a.jpg"))
    with pytest.raises(RunDamaged, match=r"kept\.csv has been changed"):
        applied(run, f"s3://{bucket}/out/")
    (run / "removed.csv").unlink()
    (run / "kept.csv").unlink()
    with pytest.raises(RunDamaged, match=r"lacks kept\.csv"):
        applied(run, f"s3://{bucket}/out/")
    with pytest.raises(RunDamaged, match="There is no run at"):
        applied(tmp_path / "nothing", f"s3://{bucket}/out/")
    assert held(client, bucket, "out/") == {}


@only_moto
def test_parquet_comes_before_csv(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """Where the run holds kept.parquet, that is read: it needs no parsing."""
    import hashlib

    rows = fill(client, bucket, ["a.jpg", "b.jpg"])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    pq.write_table(pa.Table.from_pylist(rows[:1]), run / "kept.parquet")
    metadata = json.loads((run / "run_metadata.json").read_text())
    metadata["files"]["kept.parquet"] = hashlib.sha256((run / "kept.parquet").read_bytes()).hexdigest()
    (run / "run_metadata.json").write_text(json.dumps(metadata))
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": 1}


def test_a_run_in_a_bucket(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """A run on S3 is applied and undone as one in a folder is; its journal lies beside it."""
    local = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg", "b.jpg"]))
    for file in local.iterdir():
        client.upload_file(str(file), bucket, f"runs/1/{file.name}")
    assert typed("apply", f"s3://{bucket}/runs/1", "--to", f"s3://{bucket}/out", "--yes").exit_code == 0
    assert len(held(client, bucket, "out/")) == 2
    assert any(name.endswith(".parquet") for name in held(client, bucket, "runs/1/apply/"))
    assert typed("undo", f"s3://{bucket}/runs/1", "--yes").exit_code == 0
    assert held(client, bucket, "out/") == {}


@only_moto
def test_begun_in_another_way(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """An application that was begun with other options is not mixed with these."""
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, ["a.jpg"]))
    applied(run, f"s3://{bucket}/out/")
    again = typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--storage-class", "STANDARD_IA")
    assert again.exit_code == 2
    assert "This was begun with copying" in again.stderr


@only_moto
def test_a_copy_that_only_its_bytes_tell(client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """What a killed process was about to make is known by its bytes where etags differ; another's object is not."""
    rows = fill(client, bucket, ["a.jpg", "b.jpg"])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    folder = apply_folder(FolderLocation(run), f"s3://{bucket}/out/")
    since = datetime.now(UTC)
    begun = [
        {
            "key": f"out/{name}",
            "outcome": "begun",
            "source_etag": "0123-2",  # of an upload in parts
            "size_bytes": len(content(name)),
            "sha256": row["sha256"],
            "since": since,
            "noted_at": since,
        }
        for name, row in zip(["a.jpg", "b.jpg"], rows, strict=True)
    ]
    Journal(folder, COPIES).write(begun)
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=content("a.jpg"))
    client.put_object(Bucket=bucket, Key="out/b.jpg", Body=content("b.jpg")[::-1])
    done = applied(run, f"s3://{bucket}/out/")
    assert states(done) == {"copied": 1, "occupied": 1}
    assert typed("undo", str(run), "--yes").exit_code == 0
    assert held(client, bucket, "out/") == {"b.jpg": content("b.jpg")[::-1]}


@only_moto
def test_the_permissions_are_those_that_the_page_lists(
    s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path, large: bytes
) -> None:
    """docs/apply.md names every permission that apply and undo need, and no other."""
    rows = [*fill(client, bucket, ["a.jpg"]), row_of(bucket, "in/large.jpg", large)]
    small = write_run(tmp_path / "small", [f"s3://{bucket}/in/"], kept=rows[:1])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=rows)
    s3.reset()
    applied(small, f"s3://{bucket}/small/", ApplyOptions())
    typed("undo", str(small), "--yes")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    applied(run, f"s3://{bucket}/out/", IN_PARTS)
    typed("undo", str(run), "--yes", "--trust-conditions")
    page = (Path(__file__).parents[1] / "docs" / "apply.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(s3:\w+)`", page, flags=re.MULTILINE))
    needed = {permission.action for permission in s3.needed} - {"s3:PutBucketVersioning", "s3:CreateBucket"}
    not_seen_here = {"s3:AbortMultipartUpload"}  # only where a copy in parts fails
    assert needed | not_seen_here == listed


def test_pace() -> None:
    """A service that asks to slow down gets fewer requests; one wish is heard once; success brings them back."""
    pace = Pace(10)
    pace.slow_down()
    pace.slow_down()
    assert pace.limit == 7
    for _ in range(200):
        with pace.slot():
            pace.went_well()
    assert pace.limit == 10


# Killed at random moments.


@pytest.fixture
def large_bucket(bucket: str) -> Iterator[str]:
    """A bucket that is emptied at once: one request for each object would take longer than the test."""
    yield bucket
    buckets.empty(bucket)


@pytest.fixture
def _own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process leaves among the temporary files goes with the test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def _command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clipsieve", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _kill(words: list[str], has_reached: Callable[[], bool]) -> None:
    """Run a command and kill it as soon as it has got so far; it must not end before."""
    with _command(*words) as job:
        while not has_reached() and job.poll() is None:
            try:
                job.wait(0.002)
            except subprocess.TimeoutExpired:
                continue
        job.send_signal(signal.SIGKILL)
        said = job.communicate()
    assert job.returncode == -signal.SIGKILL, said


OBJECTS = int(os.environ.get("CLIPSIEVE_KILLED_OBJECTS", "150"))
"""`make bench-apply` takes 5,000, killed ten times, which keeps two cores busy for minutes."""
KILLS = 10 if OBJECTS >= 500 else 2


@only_moto
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_own_scratch")
def test_killed_at_random_moments(s3: MotoServer, client: "S3Client", large_bucket: str, tmp_path: Path) -> None:
    """Killed again and again while the service fails at times and the source has changed, it ends with the truth.

    A tenth of the objects changed or vanished after they were judged; 2 of 100 requests are refused, and some answers
    are lost. The destination then holds exactly the kept, unchanged images, byte for byte; and after `undo`, killed as
    well, the bucket has the versions that it had before.
    """
    bucket, dice = large_bucket, random.Random(OBJECTS)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    keys = [*ODD_KEYS, *KEYS_OF_NO_FOLDER, *(f"{k % 7}/{k:05}.jpg" for k in range(OBJECTS))]
    rows = [row_of(bucket, f"in/{key}", content(key)) for key in keys]
    for key in keys:
        buckets.put(bucket, f"in/{key}", content(key))
    kept = [row for row in rows if dice.random() < 0.9]
    altered = dice.sample(kept, len(kept) // 10)
    for row in altered[::2]:
        buckets.put(bucket, row["key"], b"another picture")
    for row in altered[1::2]:
        buckets.backend().delete_object(bucket, row["key"])
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=kept, removed=[r for r in rows if r not in kept])
    before, source = buckets.versions(bucket), buckets.contents(bucket, "in/")
    seen = {"PUT": 0, "DELETE": 0}

    def refuse_some(method: str, path: str) -> tuple[int, str] | None:
        if method in seen and "/out/" in path:
            seen[method] += 1
            if dice.random() < 0.02:
                return dice.choice([(503, "SlowDown"), (500, "InternalError"), (200, "InternalError")])
        return None

    s3.faults.append(refuse_some)
    s3.late_faults.append(
        lambda method, _: (500, "InternalError") if method == "PUT" and dice.random() < 0.005 else None
    )

    apply = ["apply", str(run), "--to", f"s3://{bucket}/out/", "--yes", "--trust-conditions"]
    apply += ["--workers", f"{min(64, max(4, OBJECTS // 80))}"]  # so that no job is done before it is killed
    for kill in range(KILLS):
        left = max(1, len(kept) - seen["PUT"])
        goal = seen["PUT"] + dice.randrange(1, 2 * left // (KILLS - kill + 1) + 2)
        _kill(apply, lambda goal=goal: seen["PUT"] >= goal)  # type: ignore[misc]
    with _command(*apply) as job:
        said, complained = job.communicate(timeout=200)
    unchanged = {row["key"].removeprefix("in/") for row in kept} - {row["key"].removeprefix("in/") for row in altered}
    assert job.returncode == 3, complained
    assert buckets.contents(bucket, "out/") == {f"out/{key}": content(key) for key in unchanged}
    assert f"holds {len(unchanged):,} of the {len(kept):,} images" in said
    assert f"{sum(len(content(key)) for key in unchanged):,} of " in said
    assert buckets.contents(bucket, "in/") == source

    undo = ["undo", str(run), "--yes", "--trust-conditions"]
    goal = dice.randrange(1, len(unchanged))
    _kill(undo, lambda: seen["DELETE"] >= goal)
    with _command(*undo) as job:
        _, complained = job.communicate(timeout=200)
    assert job.returncode == 0, complained
    assert buckets.versions(bucket) == before
