"""`undo` of copies: what apply has made goes, and nothing else."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

import clipsieve
from query.deliver.apply.copies import ApplyOptions
from query.deliver.apply.undo import UndoPlan
from store.errors import RunDamaged
from store.s3.copying.records import CopyOptions
from tests import buckets
from tests.commands import typed
from tests.runs import write_run
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.test_apply import applied, both_ways, content, fill, held, only_moto, states

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = ["a.jpg", "b b.jpg", "c+c.jpg"]


@pytest.fixture
def client(s3: S3Server, bucket: str) -> "S3Client":
    """A client of the server under test; the bucket is there."""
    return s3.client()


@pytest.fixture
def run(client: "S3Client", bucket: str, tmp_path: Path) -> Path:
    """A run that keeps the three objects below `in/`."""
    return write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=fill(client, bucket, KEYS))


def taken_back(run: Path, *, trust: bool | None = True) -> UndoPlan:
    """Undo a run; return what is left."""
    (opened,) = clipsieve.open_run(str(run)).ways_back(honours_conditions=trust)
    with opened as job:
        job.plan()
        return job.carry_out()


def version(client: "S3Client", bucket: str, status: str) -> None:
    """Let a bucket keep versions, or stop it."""
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})  # type: ignore[typeddict-item]


def test_what_was_made_goes(client: "S3Client", bucket: str, run: Path) -> None:
    """After undo the destination holds what it held before: nothing of ours, everything of others."""
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=content("a.jpg"))  # equal, but not ours
    client.put_object(Bucket=bucket, Key="out/notes.txt", Body=b"notes")
    before = held(client, bucket, "")
    assert typed("apply", str(run), "--to", f"s3://{bucket}/out/", "--yes").exit_code == 3
    assert len(held(client, bucket, "out/")) == 4
    shown = typed("undo", str(run))
    assert f"s3://{bucket}/out/: 2 to take back" in shown.stdout
    assert "add --yes" in shown.stdout
    assert len(held(client, bucket, "out/")) == 4
    done = typed("undo", str(run), "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Taken back: 2; left: 0." in done.stdout
    assert held(client, bucket, "") == before
    assert "nothing to undo" in typed("undo", str(run), "--yes").stdout


@only_moto
def test_versions_are_as_before(client: "S3Client", bucket: str, run: Path) -> None:
    """In a bucket with versions our version goes for good, without a delete marker, and older ones are as they were."""
    version(client, bucket, "Enabled")
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=b"old")
    client.delete_object(Bucket=bucket, Key="out/a.jpg")
    before = buckets.versions(bucket)
    assert states(applied(run, f"s3://{bucket}/out/")) == {"copied": 3}
    assert taken_back(run).ours.objects == 0
    assert buckets.versions(bucket) == before


@only_moto
@both_ways
def test_what_is_not_ours_any_more_stays(client: "S3Client", bucket: str, run: Path, options: ApplyOptions) -> None:
    """An object that somebody has put in the place of ours stays, and a line says so; one that is gone is no matter."""
    applied(run, f"s3://{bucket}/out/")
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=b"precious")
    client.delete_object(Bucket=bucket, Key="out/b b.jpg")
    done = typed("undo", str(run), "--yes", *(["--trust-conditions"] if options.honours_conditions else []))
    assert "1 are not ours any more, and stay: out/a.jpg." in done.stderr
    assert "1 are gone already." in done.stdout
    assert done.exit_code == 3
    assert held(client, bucket, "out/") == {"a.jpg": b"precious"}


@only_moto
def test_the_same_bytes_by_somebody_else(client: "S3Client", bucket: str, run: Path) -> None:
    """An equal object that somebody writes later, in the place of ours, is not ours."""
    applied(run, f"s3://{bucket}/out/")
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=content("a.jpg"))
    theirs = buckets.backend().get_object(bucket, "out/a.jpg")
    assert theirs is not None
    theirs.last_modified = theirs.last_modified.replace(year=theirs.last_modified.year + 1)
    assert taken_back(run).not_ours == 1
    assert set(held(client, bucket, "out/")) == {"a.jpg"}


@only_moto
@both_ways
def test_replaced_at_the_last_moment(
    s3: MotoServer, client: "S3Client", bucket: str, run: Path, options: ApplyOptions
) -> None:
    """An object that is replaced between the listing and its deletion stays."""
    applied(run, f"s3://{bucket}/out/")
    first = "DELETE" if options.honours_conditions else "HEAD"
    s3.faults.append(
        lambda method, path: (
            buckets.put(bucket, "out/a.jpg", b"precious") if (method, path) == (first, f"/{bucket}/out/a.jpg") else None
        )
    )
    assert taken_back(run, trust=options.honours_conditions).not_ours == 1
    assert held(client, bucket, "out/") == {"a.jpg": b"precious"}


@only_moto
def test_a_newer_version_on_top(client: "S3Client", bucket: str, run: Path) -> None:
    """Where somebody has put a newer version over ours, or deleted ours, exactly our version goes from below theirs."""
    version(client, bucket, "Enabled")
    applied(run, f"s3://{bucket}/out/")
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=b"precious")
    client.delete_object(Bucket=bucket, Key="out/b b.jpg")
    done = typed("undo", str(run), "--yes", "--trust-conditions")
    assert "1 are not ours any more, and stay: out/a.jpg." in done.stderr
    left = {key: len(found) for key, found in buckets.versions(bucket).items() if key.startswith("out/")}
    assert left == {"out/a.jpg": 1, "out/b b.jpg": 1}
    assert held(client, bucket, "out/") == {"a.jpg": b"precious"}


@only_moto
@pytest.mark.parametrize("status", ["Enabled", None])
def test_what_was_made_and_not_recorded(client: "S3Client", bucket: str, run: Path, status: str | None) -> None:
    """What a killed process has made without recording it goes too; what was there before it began does not."""
    if status:
        version(client, bucket, status)
    client.put_object(Bucket=bucket, Key="out/a.jpg", Body=content("a.jpg"))
    before = buckets.versions(bucket)
    applied(run, f"s3://{bucket}/out/")
    for part in run.glob("apply/*/journal/*.parquet"):
        if set(pq.read_table(part)["outcome"].to_pylist()) == {"copied"}:
            part.unlink()  # as if the process had ended before it wrote this
    assert taken_back(run).ours.objects == 0
    assert buckets.versions(bucket) == before


@only_moto
def test_an_upload_that_was_not_finished(s3: MotoServer, client: "S3Client", bucket: str, tmp_path: Path) -> None:
    """The parts of an upload whose process was killed are dropped, by undo as by the next apply."""
    from tests.runs import row_of

    data = random.Random(2).randbytes(6 * 2**20)
    client.put_object(Bucket=bucket, Key="in/large.jpg", Body=data)
    run = write_run(tmp_path / "run", [f"s3://{bucket}/in/"], kept=[row_of(bucket, "in/large.jpg", data)])
    options = ApplyOptions(CopyOptions(parts_above_bytes=2**20, part_bytes=5 * 2**20), honours_conditions=True)
    s3.faults.append(
        lambda method, path: (400, "ExpiredToken") if method in {"PUT", "DELETE"} and "/out/" in path else None
    )
    with pytest.raises(clipsieve.ClipsieveError, match="ExpiredToken"):
        applied(run, f"s3://{bucket}/out/", options)
    assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
    s3.faults.clear()
    assert "1 unfinished uploads are dropped." in typed("undo", str(run), "--yes").stdout
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@only_moto
def test_not_allowed(s3: MotoServer, client: "S3Client", bucket: str, run: Path) -> None:
    """Where nothing may be deleted the job ends at once with S3's words; where one may not, the rest goes."""
    applied(run, f"s3://{bucket}/out/")
    s3.faults.append(lambda method, _: (403, "AccessDenied") if method == "DELETE" else None)
    refused = typed("undo", str(run), "--yes", "--trust-conditions")
    assert refused.exit_code == 1
    assert f"Cannot delete s3://{bucket}/out/" in refused.stderr
    s3.faults[:] = [lambda method, path: (403, "AccessDenied") if (method, path[-5:]) == ("DELETE", "a.jpg") else None]
    partly = typed("undo", str(run), "--yes", "--trust-conditions")
    assert (partly.exit_code, set(held(client, bucket, "out/"))) == (3, {"a.jpg"})
    s3.faults.clear()
    assert typed("undo", str(run), "--yes", "--trust-conditions").exit_code == 0
    assert held(client, bucket, "out/") == {}


@only_moto
def test_one_of_two_destinations(client: "S3Client", bucket: str, run: Path) -> None:
    """A run that was applied twice is undone at one place, or at both."""
    applied(run, f"s3://{bucket}/one/")
    applied(run, f"s3://{bucket}/two/")
    assert typed("undo", str(run), "--yes", "--to", f"s3://{bucket}/one").exit_code == 0
    assert (len(held(client, bucket, "one/")), len(held(client, bucket, "two/"))) == (0, 3)
    assert typed("undo", str(run), "--yes").exit_code == 0
    assert held(client, bucket, "two/") == {}


@only_moto
def test_applied_anew(client: "S3Client", bucket: str, run: Path) -> None:
    """What was undone can be applied again, with other options too, and undone again."""
    applied(run, f"s3://{bucket}/out/")
    taken_back(run)
    cold = ApplyOptions(CopyOptions(storage_class="STANDARD_IA"), honours_conditions=True)
    assert states(applied(run, f"s3://{bucket}/out/", cold)) == {"copied": 3}
    assert client.head_object(Bucket=bucket, Key="out/a.jpg")["StorageClass"] == "STANDARD_IA"
    assert taken_back(run).ours.objects == 0
    assert held(client, bucket, "out/") == {}


@only_moto
def test_another_run_in_its_place(client: "S3Client", bucket: str, run: Path) -> None:
    """A run whose record was changed after it was applied is not undone by guess, nor one with a damaged journal."""
    applied(run, f"s3://{bucket}/out/")
    record = run / "run_metadata.json"
    text = record.read_text()
    record.write_text(text + "\n")
    with pytest.raises(RunDamaged, match="is not the run that was applied"):
        taken_back(run)
    record.write_text(text)
    next(run.glob("apply/*/journal/*.parquet")).write_bytes(b"nonsense")
    with pytest.raises(RunDamaged, match="journal"):
        taken_back(run)
    assert len(held(client, bucket, "out/")) == 3
