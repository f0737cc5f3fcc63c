"""What an export writes beside its counts: the same rows in every form, the policy, and addresses that work."""

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import clipsieve
from query.deliver.apply.run import ExportedRun
from query.deliver.behind import Behind
from query.deliver.forms import Manifest
from query.deliver.links import lasting
from query.deliver.manifests import MANIFESTS
from query.rules.policies.policy import shipped_policies
from store.errors import LocationError, RunDamaged, UnknownName, UsageError
from store.layout import EncoderStore
from store.records import SourceObject
from store.s3 import S3Options
from tests.commands import typed
from tests.servers import S3Server
from tests.stores import (
    NOON,
    add_part,
    ask,
    embedded,
    files_of,
    list_source,
    new_store,
    only_run,
    put_scores,
    read_csv,
    stepped_store,
)
from tests.test_addresses import SECRET, fetched
from tests.test_apply import KEYS_OF_NO_FOLDER, ODD_KEYS

if TYPE_CHECKING:
    from query.deliver.export import Run

only_moto = pytest.mark.parametrize("s3", ["moto"], indirect=True)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images that score 0, 1/12, 2/12, … as people, one that failed, one file that is no image."""
    return stepped_store(tmp_path / "store")


def objects_of(bucket: str, keys: list[str]) -> list[SourceObject]:
    """Objects of a bucket, as a listing shows them."""
    return [
        SourceObject(f"s3://{bucket}/in/", f"s3://{bucket}/in/{k}", bucket, f"in/{k}", "e", "e", 5, NOON) for k in keys
    ]


def store_of(folder: Path, objects: list[SourceObject]) -> EncoderStore:
    """A store of these objects, of which the first one shows people."""
    store = new_store(folder)
    list_source(store, objects, source=objects[0].source)
    add_part(store, [embedded(one) for one in objects])
    return put_scores(store, {"people": {objects[0].key: 0.9}}, default=0.1)


@pytest.fixture
def on_s3(s3: S3Server, bucket: str, tmp_path: Path) -> EncoderStore:
    """A store of objects with odd keys, each of which holds its key."""
    objects = objects_of(bucket, [*ODD_KEYS, *KEYS_OF_NO_FOLDER])
    for one in objects:
        s3.client().put_object(Bucket=bucket, Key=one.key, Body=one.key.encode())
    return store_of(tmp_path / "store", objects)


def rows_of(run: "Run | Path", name: str) -> list[dict[str, Any]]:
    """The rows of a manifest, from Parquet."""
    place = run if isinstance(run, Path) else Path(run.place)
    rows: list[dict[str, Any]] = pq.read_table(place / f"{name}.parquet").to_pylist()
    return rows


# Forms


def test_every_form_says_the_same(store: EncoderStore, tmp_path: Path) -> None:
    """CSV, Parquet and JSON lines hold the same rows in the same order; Parquet and JSON with their types."""
    run = ask(store).export(str(tmp_path / "runs"), remove=["people >= 0.5"], jsonl=True)
    for name in MANIFESTS:
        rows = rows_of(run, name)
        lines = [json.loads(line) for line in Path(run.place, f"{name}.jsonl").read_text("utf-8").splitlines()]
        texts = read_csv(Path(run.place, f"{name}.csv"))
        assert [row["uri"] for row in rows] == [row["uri"] for row in lines] == [row["uri"] for row in texts]
        for row, line, text in zip(rows, lines, texts, strict=True):
            assert list(row) == list(line) == list(text)
            for column, value in row.items():
                assert text[column] == ("" if value is None else text[column]), column
                if isinstance(value, str | int | None):
                    assert (line[column], text[column]) == (value, "" if value is None else str(value)), column
                elif isinstance(value, float):
                    assert [line[column], float(text[column])] == pytest.approx([value, value], rel=1e-7), column
                else:
                    assert datetime.fromisoformat(text[column]) == value, column
    kept = pq.read_schema(f"{run.place}/kept.parquet")
    assert kept.field("size_bytes").type == pa.int64()
    assert kept.field("people").type == pa.float32()
    assert kept.field("last_modified").type == pa.timestamp("us", "UTC")


def test_without_jsonl_parquet_and_report(store: EncoderStore, tmp_path: Path) -> None:
    """JSON lines are written on request, and Parquet and the report may be left out; CSV is the same without them."""
    place = store.location.uri.rpartition("/")[0]
    done = typed("export", place, "people-strict", "--to", str(tmp_path), "--no-report", "--no-parquet")
    (run,) = tmp_path.glob("*-people-strict-*")
    assert done.exit_code == 0
    assert {path.suffix for path in run.iterdir()} == {".csv", ".toml", ".json"}
    other = Path(ask(store).export(str(tmp_path / "others"), "people-strict").place)
    assert {path.suffix for path in other.iterdir()} == {".csv", ".parquet", ".toml", ".html", ".json"}
    assert all((run / f"{name}.csv").read_bytes() == (other / f"{name}.csv").read_bytes() for name in MANIFESTS)


@pytest.mark.parametrize("odd", ['a "b"', "a,b", "a\nb", "a\rb", "", " a ", "#a", "é"])
def test_csv_says_every_text_apart(odd: str, tmp_path: Path) -> None:
    """A text reads back as it is, also one that needs quotes after ones that do not, and an empty one is not null."""
    behind = Behind(1)
    with duckdb.connect() as connection, Manifest(tmp_path, "kept", behind) as manifest, behind:
        texts: list[list[str | None]] = [["plain", None], [odd, None], ["plain", odd]]
        for first, second in texts:
            query = 'select $first as "a,1", $second::varchar as b, 1.5::float as c'
            assert manifest.add(connection, query, {"first": first, "second": second}) == 1
    assert (tmp_path / "kept.csv").read_bytes().startswith(b'"a,1",b,c\nplain,,1.5\n')
    with duckdb.connect() as connection:
        read = connection.read_csv(str(tmp_path / "kept.csv"), header=True, all_varchar=True, allow_quoted_nulls=False)
        assert [list(row) for row in read.fetchall()] == [[first, second, "1.5"] for first, second in texts]


def test_csv_says_times_to_the_microsecond(tmp_path: Path) -> None:
    """A time is written in UTC with a Z, whenever it is, quoted beside a text that needs quotes; none is empty."""
    behind = Behind(1)
    with duckdb.connect() as connection, Manifest(tmp_path, "kept", behind) as manifest, behind:
        connection.execute("set timezone = 'UTC'")
        rows = "(timestamptz '1969-12-31 23:59:59.000001Z', 'a'), (null, 'a'), ('2026-02-28 09:00:00+09', 'a,b')"
        assert manifest.add(connection, f"from (values {rows}) as t(seen_at, text)", {}) == 3
    written = (tmp_path / "kept.csv").read_text().splitlines()
    assert written == [
        "seen_at,text",
        "1969-12-31 23:59:59.000001Z,a",
        ",a",
        '"2026-02-28 00:00:00.000000Z","a,b"',
    ]


def test_the_policy_lies_beside_what_it_decided(store: EncoderStore, tmp_path: Path) -> None:
    """policy.toml is the policy's file, or of --remove the one that says the same: given again, it decides alike."""
    session = ask(store)
    run = session.export(str(tmp_path / "runs"), "people-lenient")
    assert Path(run.place, "policy.toml").read_text("utf-8") == shipped_policies()["people-lenient"]
    rules = ["people >= 0.9", "key like '%\"7%' or people < 0.1 -- \\ ü", "people >= 0.9"]
    run = session.export(str(tmp_path / "runs"), remove=rules)
    again = session.export(str(tmp_path / "again"), f"{run.place}/policy.toml")
    assert [(rule["reason"], rule["decides"]) for rule in again.rules] == [
        (rule["reason"], rule["decides"]) for rule in run.rules
    ]
    keys = [[row["key"] for row in rows_of(one, "removed")] for one in (run, again)]
    assert keys[0] == keys[1] != []


# Which run is meant


def test_a_place_with_one_run_means_that_run(store: EncoderStore, tmp_path: Path) -> None:
    """Commands on a run take its folder, or the place where it is the only one; of several they name the newest."""
    place = tmp_path / "runs"
    with pytest.raises(RunDamaged, match=r"There is no run at .*/runs"):
        ExportedRun.open(str(place), S3Options())
    first = ask(store).export(str(place), remove=["people >= 0.5"])
    (place / "notes").mkdir()
    for word in (str(place), first.place):
        assert ExportedRun.open(word, S3Options()).run_id == first.run_id
    second = place / first.run_id.replace("20", "21", 1)
    second.mkdir()
    (second / "run_metadata.json").write_bytes(Path(first.place, "run_metadata.json").read_bytes())
    said = typed("undo", str(place))
    assert said.exit_code == 2
    assert f"holds 2 runs: {second.name}, {first.run_id}." in said.stderr
    assert f"the newest is {second}." in said.stderr


@only_moto
def test_a_place_on_s3_with_one_run(store: EncoderStore, s3: S3Server, bucket: str) -> None:
    """The same holds of a prefix."""
    run = ask(store).export(f"s3://{bucket}/runs/", remove=["people >= 0.5"])
    assert ExportedRun.open(f"s3://{bucket}/runs/", S3Options()).location.uri == run.place
    ask(store).export(f"s3://{bucket}/runs/", remove=["people >= 0.5"])
    with pytest.raises(UsageError, match=r"holds 2 runs: .* Name one; the newest is s3://"):
        ExportedRun.open(f"s3://{bucket}/runs/", S3Options())


# Addresses


@only_moto
def test_addresses_and_presigned_urls(on_s3: EncoderStore, tmp_path: Path, bucket: str) -> None:
    """Every row has the object's URIs; on request a URL by which anybody reads just this object, and when it ends."""
    before = datetime.now(UTC).replace(microsecond=0)
    run = ask(on_s3).export(str(tmp_path / "runs"), remove=["people >= 0.5"], presign="2h")
    rows = [*rows_of(run, "kept"), *rows_of(run, "removed")]
    assert len(rows) == len(ODD_KEYS) + len(KEYS_OF_NO_FOLDER)
    for row in rows:
        assert row["s3_uri"] == row["uri"] == f"s3://{bucket}/{row['key']}"
        assert fetched(row["https_url"])[0] == 403
        assert row["presigned_url"].startswith(f"{row['https_url']}?")
        assert fetched(row["presigned_url"]) == (200, row["key"].encode())
        assert timedelta(hours=2) <= row["presigned_until"] - before < timedelta(hours=2, minutes=2)
    texts = {row["uri"]: row["presigned_url"] for row in read_csv(Path(run.place, "kept.csv"))}
    assert texts == {row["uri"]: row["presigned_url"] for row in rows_of(run, "kept")}
    assert json.loads(Path(run.place, "run_metadata.json").read_bytes())["presigned_until"]


@only_moto
def test_secrets_stand_nowhere(
    on_s3: EncoderStore, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file of a run holds the secret key; a URL holds the id of the key by nature, and nothing else does."""
    words = ("export", on_s3.location.uri.rpartition("/")[0], "--remove", "people >= 0.5", "--presign", "1h")
    done = typed(*words, "--to", str(tmp_path / "runs"))
    assert done.exit_code == 0
    for name, data in files_of(only_run(tmp_path / "runs")).items():
        assert s3.secret_key.encode() not in data
        assert (s3.access_key.encode() in data) <= name.endswith((".csv", ".parquet")), name
    assert s3.secret_key not in done.output
    assert s3.access_key not in done.output


@only_moto
def test_temporary_credentials_are_warned_of(
    on_s3: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the credentials may end sooner than the URLs, the command says so and ends with 3."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "temporary")
    words = ("export", on_s3.location.uri.rpartition("/")[0], "--remove", "people >= 0.5", "--presign", "7d")
    done = typed(*words, "--to", str(tmp_path / "runs"), "--no-report")
    assert (done.exit_code, "nobody here knows when they end" in done.stderr) == (3, True)


def test_what_cannot_be_presigned(store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bucket, credentials, a region or a time that S3 takes, a sentence says why, and nothing is written."""
    (tmp_path / "files").mkdir()
    one = SourceObject("file:///x/", "file:///x/a.jpg", None, "a.jpg", None, "5-5", 5, NOON)
    files = store_of(tmp_path / "other", [one])
    export = {"remove": ["people >= 0.5"], "to": str(tmp_path / "runs")}
    with pytest.raises(UsageError, match="no image lies in a bucket"):
        ask(files).export(**export, presign="1h")  # type: ignore[arg-type]
    with pytest.raises(LocationError, match="no AWS credentials"):
        ask(store).export(**export, presign="1h")  # type: ignore[arg-type]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("store.s3.addresses.address_of", lambda *_: None)
    with pytest.raises(LocationError, match="in which region s3://photos lies"):
        ask(store).export(**export, presign="1h")  # type: ignore[arg-type]
    for wrong in ("8d", "0h", "soon", "1.5h", "-1h", ""):
        with pytest.raises(UsageError):
            ask(store).export(**export, presign=wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


def test_an_address_that_nobody_knows(store: EncoderStore, tmp_path: Path) -> None:
    """Where S3 cannot be asked for the region, https_url is empty, and a line says what to do; the run is whole."""
    done = typed("export", store.location.uri.rpartition("/")[0], "people-strict", "--to", str(tmp_path / "runs"))
    assert done.exit_code == 0
    assert "https_url is empty for s3://photos: S3 could not be asked for its region." in done.stderr
    assert {row["https_url"] for row in rows_of(only_run(tmp_path / "runs"), "kept")} == {None}


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("90s", 90), (" 3600 ", 3600), ("1H", 3600)]
)
def test_lengths_of_time(text: str, seconds: int) -> None:
    """Days, hours, minutes and seconds."""
    assert lasting(text) == timedelta(seconds=seconds)


# clipsieve presign


@only_moto
def test_urls_are_made_anew(on_s3: EncoderStore, tmp_path: Path) -> None:
    """`presign` writes manifests with fresh URLs beside the run, whose own files stay as they are, byte for byte."""
    run = ask(on_s3).export(str(tmp_path / "runs"), remove=["people >= 0.5"], presign="1s")
    before = files_of(Path(run.place))
    done = typed("presign", str(tmp_path / "runs"), "--for", "3h")
    assert done.exit_code == 0
    assert {name: data for name, data in files_of(Path(run.place)).items() if "presigned/" not in name} == before
    (folder,) = Path(run.place, "presigned").iterdir()
    assert f"Written to {folder}; the URLs end 20" in done.stdout
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.csv" for name in MANIFESTS), "presigned.json"}
    for name in ("kept", "removed"):
        own, fresh = (read_csv(place / f"{name}.csv") for place in (Path(run.place), folder))
        for one, other in zip(own, fresh, strict=True):
            assert list(one) == list(other)
            assert {k: v for k, v in one.items() if "presigned" not in k} == {
                k: v for k, v in other.items() if "presigned" not in k
            }
            assert fetched(other["presigned_url"]) == (200, one["key"].encode())
    record = json.loads((folder / "presigned.json").read_bytes())
    assert (record["run_id"], record["rows"]["kept"]) == (run.run_id, run.kept)
    assert clipsieve.open_run(run.place).run.run_id == run.run_id
    assert typed("undo", run.place).exit_code == 0


@only_moto
def test_one_manifest_is_enough(on_s3: EncoderStore, bucket: str) -> None:
    """Of a run on S3 too, and of one manifest only; a name that is none is named with the nearest."""
    run = ask(on_s3).export(f"s3://{bucket}/runs", remove=["people >= 0.5"])
    signed = clipsieve.open_run(run.place).presign("1h", ["removed"])
    assert (dict(signed.rows), signed.place.startswith(f"{run.place}/presigned/")) == ({"removed": 1}, True)
    with pytest.raises(UnknownName, match=r"no manifest 'remvoed'\. Nearest: removed"):
        clipsieve.open_run(run.place).presign("1h", ["remvoed"])
    wrong = typed("presign", run.place, "--for", "8d")
    assert (wrong.exit_code, "7 days" in wrong.stderr) == (2, True)


@only_moto
def test_what_was_changed_is_not_signed(on_s3: EncoderStore, tmp_path: Path) -> None:
    """A run whose manifest was edited is refused, and nothing is written."""
    run = ask(on_s3).export(str(tmp_path / "runs"), remove=["people >= 0.5"])
    with Path(run.place, "kept.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["s3://elsewhere/secret.jpg"])
    with pytest.raises(RunDamaged, match=r"kept\.csv has been changed"):
        clipsieve.open_run(run.place).presign()
    assert not Path(run.place, "presigned").exists()
    assert re.fullmatch(r"\S+-remove-[0-9a-f]{6}", run.run_id)


def test_a_disk_that_is_full(store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a manifest cannot be written in one of its forms, a sentence says so, and nothing of the run is left."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_batch", full)
    with pytest.raises(LocationError, match=r"manifests cannot be written: .*No space left.*Nothing of the run"):
        ask(store).export(str(tmp_path / "runs"), remove=["people >= 0.5"])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_work_behind_the_caller() -> None:
    """It is done in order, its caller never gets further ahead than was said, and what fails is raised there."""
    done: list[int] = []
    ahead: list[int] = []
    gate = Event()

    def work(number: int) -> None:
        gate.wait(10)
        ahead.append(given[-1] - number)
        done.append(number)

    given = [0]
    with Behind(3) as behind:
        for number in range(1, 20):
            behind.do(work, number)
            given.append(number)
            if number == 3:
                gate.set()
    assert done == [*range(1, 20)]
    assert max(ahead) <= 3
    behind = Behind(3)
    behind.do(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _give(behind, done)
    assert 0 not in done


def _give(behind: Behind, done: list[int]) -> None:
    with behind:
        for _ in range(9):
            behind.do(done.append, 0)
