"""What a job may not do, and what it would cost, is said before it begins."""

import json
import os
from pathlib import Path

import pytest

import clipsieve
from embed.estimate.record import PRICE_PER_GB, PRICE_SOURCE
from store.errors import LocationError
from store.s3.preflight import Lack
from tests.embedding import command, embed, embed_command, retry_at_once
from tests.pictures import picture_bytes
from tests.servers import S3Server
from tests.servers.moto_server import MotoServer
from tests.servers.policy import Policy
from tests.stores import files_of

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)
IAM = Path(__file__).resolve().parents[1] / "deploy" / "iam" / "embed.json"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    retry_at_once(monkeypatch)


def fill(s3: S3Server, bucket: str, count: int = 6) -> None:
    """Put pictures below `in/`."""
    for number in range(count):
        s3.client().put_object(Bucket=bucket, Key=f"in/{number}.jpg", Body=picture_bytes(number))


def held(s3: S3Server, bucket: str) -> list[str]:
    """Every key of a bucket."""
    return [item["Key"] for item in s3.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def allowed(bucket: str) -> Policy:
    """The policy of `embed` with source and store in one bucket."""
    names = {"SOURCE-BUCKET": bucket, "SOURCE-PREFIX": "in", "STORE-BUCKET": bucket, "STORE-PREFIX": "store"}
    return Policy.read(IAM, names)


@only_moto
@pytest.mark.parametrize(
    ("action", "place", "said"),
    [
        ("s3:ListBucket", "in/*", "list s3://{b}/in/"),
        ("s3:GetObject", "in/*", "read the objects of s3://{b}/in/"),
        ("s3:ListBucket", "store/*", "list the store s3://{b}/store"),
        ("s3:GetObject", "store/*", "read the store s3://{b}/store"),
        ("s3:PutObject", "store/*", "write the store s3://{b}/store"),
    ],
)
@pytest.mark.parametrize("is_new", [True, False], ids=["new store", "old store"])
def test_each_permission(  # noqa: PLR0917  # a case is its parameters
    s3: MotoServer, bucket: str, tmp_path: Path, action: str, place: str, said: str, *, is_new: bool
) -> None:
    """Each permission that is missing is named with the statement that gives it, before weights are looked for."""
    fill(s3, bucket)
    if not is_new:
        s3.client().put_object(Bucket=bucket, Key="store/store.json", Body=b'{"format_version": 1}')
    before = held(s3, bucket)
    policy = allowed(bucket)
    taken = [g for g in policy.grants if g.action == action and place in {g.prefix, g.resource.partition("/")[2]}]
    for grant in taken:
        policy = policy.without(grant)
    s3.policies.append(policy)
    result = command(
        "embed", f"s3://{bucket}/in/", "--store", f"s3://{bucket}/store", "--encoder", "local-dir:/nowhere"
    )
    s3.policies.clear()
    assert (len(taken), result.exit_code) == (1, 1)
    assert said.format(b=bucket) in result.stderr
    (statement,) = [json.loads(line[line.index("{") :]) for line in result.stderr.splitlines() if "{" in line]
    mine = json.loads(IAM.read_text())["Statement"]
    shapes = [{**one, "Sid": 0} for one in mine]
    assert {*statement} == {"Effect", "Action", "Resource", *(["Condition"] if action == "s3:ListBucket" else [])}
    assert all({*statement} <= {*shape} for shape in shapes if shape["Action"] == action)
    assert held(s3, bucket) == before


@only_moto
def test_everything_missing_at_once(s3: MotoServer, bucket: str) -> None:
    """Everything that is missing is said at once, not one thing per attempt."""
    fill(s3, bucket)
    s3.policies.append(Policy(()))
    result = command(
        "embed", f"s3://{bucket}/in/", "--store", f"s3://{bucket}/store", "--encoder", "local-dir:/nowhere"
    )
    s3.policies.clear()
    assert result.stderr.startswith("clipsieve: 3 permissions are missing. Nothing was read or written.")
    assert result.stderr.count('"Effect": "Allow"') == 3


def test_statement_of_a_whole_bucket() -> None:
    """Of a whole bucket the statement has no prefix."""
    statement = json.loads(Lack("list s3://b/", "s3:ListBucket", "b", "").statement())
    assert statement == {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"}
    assert json.loads(Lack("x", "s3:GetObject", "b", "").statement())["Resource"] == "arn:aws:s3:::b/*"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written(tmp_path: Path, tiny_encoder: Path) -> None:
    """A folder in which no store can be made is refused before anything is read."""
    (tmp_path / "closed").mkdir(0o500)
    with pytest.raises(LocationError, match=r"closed may not be written to"):
        embed(tmp_path, tmp_path / "closed" / "store", tiny_encoder)


def test_store_below_a_file(tmp_path: Path, tiny_encoder: Path) -> None:
    """A store that would lie below a file is refused before anything is read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(LocationError, match=r"Cannot write to .*/file/store: .*/file is no folder"):
        embed(tmp_path / "in", tmp_path / "file" / "store", tiny_encoder)


# Estimates


def test_estimate_writes_nothing(s3: S3Server, bucket: str, tiny_encoder: Path) -> None:
    """An estimate counts what is left, names time, store and cost, and leaves no trace, on S3 as on disk."""
    fill(s3, bucket)
    s3.client().put_object(Bucket=bucket, Key="in/note.txt", Body=b"words")
    before = held(s3, bucket)
    words = (f"s3://{bucket}/in/", f"s3://{bucket}/store", tiny_encoder, "--estimate")
    result = embed_command(*words, "--price-per-gb", "1000000")
    assert result.exit_code == 0, result.stderr
    size_bytes = sum(len(picture_bytes(number)) for number in range(6)) + 5
    assert "lists 7 objects; 0 are done, 7 are left" in result.stdout
    assert "Tried 7 of these on cpu" in result.stdout
    assert "1 without an embedding" in result.stdout
    assert f"Transfer out of S3: ${size_bytes / 1e3:,.2f} at $1000000.0 per GB; nothing" in result.stdout
    assert f"at $0.09 per GB ({PRICE_SOURCE}); nothing" in embed_command(*words).stdout
    assert held(s3, bucket) == before
    found = json.loads(embed_command(*words, "--log-format", "json").stdout)
    assert (found["pending"], found["pending_bytes"], found["price_per_gb"]) == (7, size_bytes, PRICE_PER_GB)
    assert found["hours"] * 3600 == pytest.approx(7 / found["rate"])


def test_estimate_of_what_is_left(tmp_path: Path, tiny_encoder: Path) -> None:
    """An estimate counts what the store lacks, and its store size is what the job then writes, give or take a half."""
    (tmp_path / "in").mkdir()
    for number in range(30):
        (tmp_path / "in" / f"{number:02}.jpg").write_bytes(picture_bytes(number))
    embed(tmp_path / "in", tmp_path / "store", tiny_encoder, selection=clipsieve_selection(limit=5))
    before = files_of(tmp_path / "store")
    words = {"device": "cpu", "precision": "fp32"}
    found = clipsieve.estimate(str(tmp_path / "in"), str(tmp_path / "store"), f"local-dir:{tiny_encoder}", **words)
    assert (found.listed, found.already_done, found.pending, found.sampled) == (30, 5, 25, 25)
    assert found.transfer_cost(1.0) == 0
    assert files_of(tmp_path / "store") == before
    embed(tmp_path / "in", tmp_path / "store", tiny_encoder)
    grown = sum(map(len, files_of(tmp_path / "store").values())) - sum(map(len, before.values()))
    assert 0.5 < found.store_bytes / grown < 2
    done = embed_command(tmp_path / "in", tmp_path / "store", tiny_encoder, "--estimate")
    assert done.stdout.splitlines()[1] == "Nothing to do."


def clipsieve_selection(**words: object) -> object:
    """A selection, imported where torch is installed alone."""
    from embed.sources import Selection

    return Selection(**words)  # type: ignore[arg-type]
