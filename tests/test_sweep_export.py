"""Sweeps and exports: a threshold removes what it says, and every listed object stands in exactly one manifest."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipsieve
from query.scoring.score_sets import read_sets
from store.errors import CountsDiffer, LocationError, NotScored, RunExists, UnknownName, UsageError
from store.layout import EncoderStore, locate
from store.s3 import S3Options
from tests.stores import (
    PEOPLE,
    SOURCE,
    HashTower,
    add_part,
    ask,
    embedded,
    files_of,
    list_source,
    listed,
    new_store,
    put_scores,
    read_csv,
    removed_keys,
    run_id,
    small_store,
    stepped_store,
)

if TYPE_CHECKING:
    from tests.servers.moto_server import MotoServer

CSVS = ("removed.csv", "kept.csv", "quarantined.csv", "errors.csv")
PARQUETS = tuple(name.replace(".csv", ".parquet") for name in CSVS)
FILES = {*CSVS, *PARQUETS, "policy.toml", "report.html", "run_metadata.json"}
STEPS = [k / 100 for k in range(101)]
ON_STEPS = [np.float32(t) for t in STEPS]
BESIDE_STEPS = [np.nextafter(t, np.float32(end)) for t in ON_STEPS for end in (0, 1)]

values = st.lists(
    st.one_of(st.sampled_from(ON_STEPS), st.sampled_from(BESIDE_STEPS), st.floats(0, 1, width=32)),
    min_size=1,
    max_size=40,
)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images that score 0, 1/12, 2/12, … as people, one that failed, one file that is no image."""
    return stepped_store(tmp_path / "store")


def scored_store(folder: Path, scores: list[float]) -> EncoderStore:
    """A store of one part, in which these are the scores of `people`."""
    store = new_store(folder)
    objects = [listed(f"in/{k:04}.jpg") for k in range(len(scores))]
    list_source(store, objects)
    add_part(store, [embedded(one, words="one") for one in objects])
    return put_scores(store, {"people": {one.key: s for one, s in zip(objects, scores, strict=True)}})


@given(values)
@settings(max_examples=10)
def test_a_sweep_counts_what_a_rule_removes(scores: list[float]) -> None:
    """For all 101 thresholds the sweep, the SQL of a rule and float32 arithmetic count the same, equality included."""
    with TemporaryDirectory() as folder:
        store = scored_store(Path(folder), scores)
        session = ask(store)
        steps = session.sweep("people").to_pylist()
        # As `export` writes a rule, the threshold as it is typed: with two digits.
        rules = ", ".join(f"count(*) filter (people >= {t:.2f})" for t in STEPS)
        (by_rule,) = session.sql(f"select [{rules}] as removed from scores").to_pylist()  # noqa: S608
    exact = np.array(scores, np.float32)
    assert [step["threshold"] for step in steps] == [float(t) for t in ON_STEPS]
    assert [step["removed"] for step in steps] == by_rule["removed"]
    assert by_rule["removed"] == [int((exact >= t).sum()) for t in ON_STEPS]
    assert {step["removed"] + step["kept"] for step in steps} == {len(scores)}
    assert all(lower["removed"] >= higher["removed"] for lower, higher in pairwise(steps))


@given(values, st.sampled_from(STEPS), st.sampled_from(STEPS))
@settings(max_examples=6)
def test_threshold_up_means_removed_down(scores: list[float], one: float, other: float) -> None:
    """A higher threshold removes a subset of what a lower one does, and each as many as the sweep has said."""
    low, high = sorted((one, other))
    with TemporaryDirectory() as folder:
        store = scored_store(Path(folder, "store"), scores)
        session = ask(store)
        sweep = {f"{s['threshold']:.2f}": s["removed"] for s in session.sweep("people").to_pylist()}
        runs = [
            session.export(f"{folder}/run{k}", remove=[f"people >= {t}"], report=False)
            for k, t in enumerate((low, high))
        ]
        removed = [removed_keys(run.place, "removed.csv") for run in runs]
    assert removed[1] <= removed[0]
    assert [len(found) for found in removed] == [sweep[f"{low:.2f}"], sweep[f"{high:.2f}"]]
    assert all(run.removed + run.kept + run.errors == run.listed == len(scores) for run in runs)


def test_a_threshold_of_the_sweep_can_be_copied(tmp_path: Path) -> None:
    """A threshold as JSON shows it, with all its digits, removes what the sweep has said, scores on it included."""
    store = scored_store(tmp_path / "store", [float(t) for t in ON_STEPS])
    steps = ask(store).sweep("people").to_pylist()
    rules = ", ".join(f"count(*) filter (people >= {step['threshold']!r})" for step in steps)
    (by_rule,) = ask(store).sql(f"select [{rules}] as removed from scores").to_pylist()  # noqa: S608
    assert by_rule["removed"] == [step["removed"] for step in steps] == list(range(101, 0, -1))


@pytest.mark.parametrize("steps", [1, 3, 7, 1000, 10_000])
def test_any_number_of_steps(store: EncoderStore, steps: int) -> None:
    """A sweep has one row more than steps, from 0 to 1."""
    table = ask(store).sweep("people", steps).to_pylist()
    assert len(table) == steps + 1
    assert (table[0]["threshold"], table[-1]["threshold"]) == (0.0, 1.0)
    assert all(
        row["removed"] == sum(np.float32(k / 12) >= np.float32(row["threshold"]) for k in range(12)) for row in table
    )


def test_sweeping_what_has_no_scores(store: EncoderStore) -> None:
    """A shipped concept without scores says how to score it; any other name is answered with the nearest."""
    with pytest.raises(NotScored, match="clipsieve score STORE mask"):
        ask(store).sweep("mask")
    with pytest.raises(UnknownName, match=r"'peeple'.*Nearest: people"):
        ask(store).sweep("peeple")


def test_every_object_stands_in_one_manifest(tmp_path: Path) -> None:
    """Removed, kept and errors share no object, and together they are what the source holds; pending is an error."""
    store = small_store(tmp_path / "store", pending=["late1.jpg", "late2.jpg"])
    store = put_scores(store, {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)}})
    run = ask(store).export(str(tmp_path / "run"), remove=["people >= 0.5"])
    assert (run.removed, run.kept, run.errors, run.pending, run.listed) == (6, 6, 4, 2, 16)
    assert removed_keys(run.place, "removed.csv") == {f"{k:02}.jpg" for k in range(6, 12)}
    assert removed_keys(run.place, "kept.csv") == {f"{k:02}.jpg" for k in range(6)}
    reasons = {row["key"]: row["error_code"] or row["status"] for row in read_csv(Path(run.place, "errors.csv"))}
    assert reasons == {
        "in/broken.jpg": "truncated",
        "in/readme.txt": "not_an_image",
        "in/late1.jpg": "not_read_yet",
        "in/late2.jpg": "not_read_yet",
    }


def test_manifests_hold_metadata_and_scores(store: EncoderStore, tmp_path: Path) -> None:
    """A row says where the image lies, what it is, its scores, the rule that decided, and by what."""
    run = ask(store).export(str(tmp_path / "run"), remove=["people >= 0.9"])
    (row,) = read_csv(Path(run.place, "removed.csv"))
    assert float(row.pop("people")) == np.float32(11 / 12)
    assert float(row.pop("score")) == pytest.approx(11 / 12, abs=1e-7)
    last_modified = datetime.fromisoformat(row.pop("last_modified"))
    assert last_modified == listed("in/11.jpg").last_modified
    assert row == {
        "uri": "s3://photos/in/11.jpg",
        "bucket": "photos",
        "key": "in/11.jpg",
        "version_id": "",
        "etag": "e1",
        "revision": "",
        "size_bytes": "1000",
        "sha256": hashlib.sha256(b"s3://photos/in/11.jpg").hexdigest(),
        "width_px": "640",
        "height_px": "480",
        "format": "JPEG",
        "rule": "people >= 0.9",
        "reason": "people >= 0.9",
        "attribute": "people",
        "operator": ">=",
        "threshold": "0.9",
        "group_name": "",
        "quarantine": "",
        "duplicate_of": "",
        "cosine": "",
        "s3_uri": "s3://photos/in/11.jpg",
        "https_url": "",  # nobody here can be asked for the region
    }


def test_the_same_store_and_rules_give_the_same_bytes(store: EncoderStore, tmp_path: Path) -> None:
    """Two exports differ in their run_id and time, which the report shows, and in nothing else."""
    runs = [ask(store).export(str(tmp_path / name), remove=["people >= 0.5", "width_px < 100"]) for name in ("a", "b")]
    first, second = (files_of(Path(run.place)) for run in runs)
    assert set(first) == FILES
    metadata = [json.loads(files.pop("run_metadata.json")) for files in (first, second)]
    assert first.pop("report.html") != second.pop("report.html")
    assert first == second
    assert metadata[0].pop("run_id") != metadata[1].pop("run_id")
    for record in metadata:
        record.pop("created_at")
        record["files"].pop("report.html")
    assert metadata[0] == metadata[1]


ODD = [
    "new\nline.jpg",
    "tab\tand\rreturn.jpg",
    "a,comma.jpg",
    'a "quote".jpg',
    "日本 ü 😀.jpg",
    " space ",
    "'",
    "#;|",
    "\\N",
]


def test_odd_keys_survive_csv(tmp_path: Path) -> None:
    """A key with line breaks, commas, quotes or any letters is read from the CSV as it is in the bucket."""
    store = put_scores(small_store(tmp_path / "store", [*ODD, "=1+1.jpg", "NULL"]), {"people": {}})
    run = ask(store).export(str(tmp_path / "run"), remove=["uri like '%,%'"])
    assert removed_keys(run.place, "removed.csv") == {"a,comma.jpg"}
    assert removed_keys(run.place, "kept.csv") == {*ODD, "=1+1.jpg", "NULL"} - {"a,comma.jpg"}


def test_a_run_is_never_overwritten(store: EncoderStore, tmp_path: Path) -> None:
    """Every export gets a folder of its own beside those before it; a file, and a store, are no place for one."""
    place = tmp_path / "runs"
    runs = [ask(store).export(str(place), remove=[f"people >= 0.{k}"]) for k in (5, 1)]
    assert sorted(path.name for path in place.iterdir()) == sorted(run.run_id for run in runs)
    assert [Path(run.place) for run in runs] == [place / run.run_id for run in runs]
    before = files_of(place)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(LocationError):
        ask(store).export(str(tmp_path / "file"), remove=["people >= 0.1"])
    for inside in (tmp_path / "store", store.location.uri, f"{store.location.uri}/images"):
        with pytest.raises(UsageError, match=r"is a store\..*store/runs"):
            ask(store).export(str(inside), remove=["people >= 0.1"])
    assert ask(store).export(str(tmp_path / "store" / "runs"), remove=["people >= 0.1"]).removed == 10
    assert ask(store).verify().sound
    assert files_of(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "runs", "store"]


def test_a_runs_id_is_readable_and_its_own(
    store: EncoderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is called by its time, its policy in plain letters, and a few that nothing else has."""
    (tmp_path / "Meine Regeln (2).toml").write_text('[[rule]]\nname = "all"\nremove = "true"\n')
    ids = [ask(store).export(str(tmp_path / "runs"), policy).run_id for policy in ("people-strict", "people-strict")]
    ids.append(ask(store).export(str(tmp_path / "runs"), str(tmp_path / "Meine Regeln (2).toml")).run_id)
    ids.append(ask(store).export(str(tmp_path / "runs"), remove=["true"]).run_id)
    names = ["people-strict", "people-strict", "meine-regeln-2", "remove"]
    for run, name in zip(ids, names, strict=True):
        assert re.fullmatch(rf"20\d{{6}}T\d{{6}}Z-{name}-[0-9a-f]{{6}}", run)
    assert len(set(ids)) == 4
    monkeypatch.setattr("query.deliver.export.new_run_id", lambda **_: ids[0])
    with pytest.raises(RunExists, match="never overwritten"):
        ask(store).export(str(tmp_path / "runs"), "people-strict")


def twice_in_one_run(store: EncoderStore) -> None:
    """An image stands twice in one run, which no embed job writes."""
    add_part(store, [embedded(listed("in/00.jpg"))], number=1, part=7)


def two_revisions_listed(store: EncoderStore) -> None:
    """One URI is listed under two etags, as by two sources that overlap in a way that nobody resolves."""
    list_source(store, [listed("in/00.jpg", etag="e2", source="s3://photos/in")], number=1, source="s3://photos/in")


@pytest.mark.parametrize("spoil", [twice_in_one_run, two_revisions_listed])
def test_nothing_is_visible_where_counts_differ(
    store: EncoderStore, tmp_path: Path, spoil: Callable[[EncoderStore], None]
) -> None:
    """Where the manifests would not be what the sources hold, an error says the numbers, and no folder is left."""
    spoil(store)
    with pytest.raises(CountsDiffer, match=r"Removed .* \+ kept .* \+ errors .*14.*clipsieve verify"):
        ask(store).export(str(tmp_path / "run"), remove=["width_px > 5"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_the_metadata_says_how_the_run_came_about(store: EncoderStore, tmp_path: Path) -> None:
    """run_metadata.json names model, weights, prompts, thresholds, counts, version, store state, time and hashes."""
    start = datetime.now(UTC).replace(microsecond=0)
    run = ask(store).export(str(tmp_path / "run"), remove=["people >= 0.5", "width_px < 5"])
    record: dict[str, Any] = json.loads(Path(run.place, "run_metadata.json").read_bytes())
    (scored,) = read_sets(store)
    assert record["run_id"] == run.run_id
    assert start <= datetime.fromisoformat(record["created_at"]) <= start + timedelta(minutes=2)
    assert (record["tool"], record["tool_version"]) == ("clipsieve", clipsieve.__version__)
    assert record["store"] == store.location.uri
    assert record["encoder"] == json.loads(store.encoder.to_json())
    assert record["encoder"]["weights_sha256"] == "b" * 64
    assert record["warning"] is None
    assert record["counts"] == {"listed": 14, "removed": 6, "kept": 6, "quarantined": {}, "errors": 2, "pending": 0}
    assert record["sources"] == [SOURCE]
    assert (record["policy"], record["tables"]) == ({"name": "--remove", "sha256": None, "text": None}, [])
    assert [(rule["rule"], rule["action"], rule["decides"]) for rule in record["rules"]] == [
        ("people >= 0.5", "remove", 6),
        ("width_px < 5", "remove", 0),
    ]
    assert record["concepts"] == [json.loads(json.dumps({**PEOPLE.to_record(), "used_by_a_rule": True}))]
    state = record["store_state"]
    assert (state["image_parts"], state["score_set"]) == (2, scored.set_id)
    assert state["listings"] == store.newest_listings()
    for name, sha256 in record["files"].items():
        assert sha256 == hashlib.sha256(Path(run.place, name).read_bytes()).hexdigest()
    assert {*record["files"], "run_metadata.json"} == {*run.files} == FILES


def test_the_store_state_changes_with_the_store(store: EncoderStore, tmp_path: Path) -> None:
    """The hash of the store's state is the same as long as nothing is added, and another with every part."""

    def state(name: str) -> str:
        run = ask(store).export(str(tmp_path / name), remove=["width_px > 5"])
        found: str = json.loads(Path(run.place, "run_metadata.json").read_bytes())["store_state"]["sha256"]
        return found

    first, again = state("a"), state("b")
    add_part(store, [embedded(listed("in/late.jpg"))], number=2)
    assert first == again != state("c")


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_run_on_s3(store: EncoderStore, tmp_path: Path, s3: "MotoServer", bucket: str) -> None:
    """On S3 the same bytes arrive as in a folder, the metadata last."""
    local = ask(store).export(str(tmp_path / "run"), remove=["people >= 0.5"])
    place = f"s3://{bucket}/runs"
    run = ask(store).export(place, remove=["people >= 0.5"])
    assert (run.place, run.removed, run.listed) == (f"{place}/{run.run_id}", local.removed, local.listed)
    there = locate(run.place, S3Options())
    assert {entry.name for entry in there.files()} == FILES
    for name in (*CSVS, *PARQUETS, "policy.toml"):
        assert there.read(name) == Path(local.place, name).read_bytes()
    puts = [request.path for request in s3.requests if request.method == "PUT"]
    assert puts[-1].endswith("/run_metadata.json")
    with pytest.raises(LocationError, match="bucket's name"):
        ask(store).export("s3://no-such-bucket-here/run", remove=["people >= 0.5"])


def test_what_was_deleted_at_the_source_is_in_no_manifest(store: EncoderStore, tmp_path: Path) -> None:
    """A newer listing without an object takes it out of all manifests; its row stays in the store."""
    list_source(store, [listed(f"in/{k:02}.jpg") for k in range(3)], number=2)
    run = ask(store).export(str(tmp_path / "run"), remove=["people >= 0.1"])
    assert (run.removed, run.kept, run.errors, run.listed) == (1, 2, 0, 3)
    assert ask(store).status().no_longer_listed == 11
    assert store.refreshed().newest_run() == run_id(2)
    assert SOURCE in {source["source"] for source in ask(store, HashTower()).status().sources}
