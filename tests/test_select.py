"""What a policy decides: select, sweep and export agree, each image is decided by the first rule that holds."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.deliver import forms, manifests
from query.deliver.manifests import MANIFESTS
from query.rules.policies.policy import shipped_policies
from query.session import Session
from store.layout import EncoderStore
from tests.commands import one_line, parsed, typed
from tests.stores import (
    add_part,
    ask,
    broken,
    embedded,
    files_of,
    list_source,
    listed,
    new_store,
    only_run,
    put_scores,
    read_csv,
    removed_keys,
    small_store,
    stepped_store,
)

FOLDERS = ("anna", "ben", "cleo")
THRESHOLDS = ("0.1", "0.5", "0.7", "0.9")


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images that score 0, 1/12, 2/12, … as people, one that failed, one file that is no image."""
    return stepped_store(tmp_path / "store")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store, for tests that only ask it."""
    with closing(ask(stepped_store(tmp_path_factory.mktemp("selected")))) as session:
        yield session


def file_of(folder: Path, text: str, name: str = "p.toml") -> str:
    """A policy file."""
    (folder / name).write_text(text)
    return str(folder / name)


# a model of the semantics, in plain Python


@dataclass(frozen=True)
class Ask:
    """`column >= threshold`, or `<`."""

    column: str
    operator: str
    threshold: str

    def __str__(self) -> str:
        """As SQL."""
        return f"{self.column} {self.operator} {self.threshold}"

    def of(self, image: dict[str, Any]) -> bool:
        """Whether it holds, in FLOAT as DuckDB compares a FLOAT with a literal."""
        score, threshold = np.float32(image[self.column]), np.float32(self.threshold)
        return bool(score >= threshold if self.operator == ">=" else score < threshold)


@dataclass(frozen=True)
class Modelled:
    """A rule of any kind."""

    does: str  # remove, keep, share or survivors
    asks: tuple[Ask, ...]
    unless: Ask | None
    share: float = 0.0
    count: int = 1
    below: int = 0

    @property
    def side(self) -> str:
        """What becomes of an image that it decides."""
        return self.does if self.does in {"remove", "keep"} else f"quarantine {self.does}"

    def toml(self, number: int) -> str:
        """As a table of a policy file."""
        lines = ["[[rule]]", f'name = "{number}"', *([f'unless = "{self.unless}"'] if self.unless else [])]
        if self.does in {"remove", "keep"}:
            return "\n".join([*lines, f'{self.does} = "{" and ".join(map(str, self.asks))}"', ""])
        lines += [f'quarantine = "{self.does}"', 'group = "folder"']
        if self.does == "survivors":
            return "\n".join([*lines, f"survivors_below = {self.below}", ""])
        asks = [str(one) for one in self.asks]
        return "\n".join(
            [
                *lines,
                f"any = {json.dumps(asks)}",
                f"share_at_least = {self.share}",
                f"count_at_least = {self.count}",
                "",
            ]
        )

    def holds(self, images: Sequence[dict[str, Any]], above: Sequence[str | None]) -> list[bool]:
        """For which images it holds, with the sides that the rules above have put them on."""
        spared = [self.unless is not None and self.unless.of(image) for image in images]
        if self.does in {"remove", "keep"}:
            return [all(a.of(image) for a in self.asks) and not out for image, out in zip(images, spared, strict=True)]
        groups = {image["folder"] for image in images}
        return [
            image["folder"] in self._groups(groups, images, above) and not out
            for image, out in zip(images, spared, strict=True)
        ]

    def _groups(self, groups: set[str], images: Sequence[dict[str, Any]], above: Sequence[str | None]) -> set[str]:
        members = {group: [k for k, image in enumerate(images) if image["folder"] == group] for group in groups}
        if self.does == "survivors":
            left = {g: sum(above[k] in {None, "keep"} for k in members[g]) for g in groups}
            return {g for g in groups if left[g] < self.below and any(above[k] == "remove" for k in members[g])}
        flagged = {g: [sum(one.of(images[k]) for k in members[g]) for one in self.asks] for g in groups}
        return {g for g in groups if any(n >= self.count and n / len(members[g]) >= self.share for n in flagged[g])}


def decide(images: Sequence[dict[str, Any]], rules: Sequence[Modelled]) -> tuple[list[int | None], list[list[bool]]]:
    """The number of the rule that decides each image, and for which images each rule holds."""
    first: list[int | None] = [None] * len(images)
    every = []
    for number, rule in enumerate(rules):
        holds = rule.holds(images, [None if k is None else rules[k].side for k in first])
        first = [number if k is None and held else k for k, held in zip(first, holds, strict=True)]
        every.append(holds)
    return first, every


asks = st.builds(
    Ask, st.sampled_from(["people", "mask"]), st.sampled_from([">=", ">=", "<"]), st.sampled_from(THRESHOLDS)
)
conditions = st.lists(asks, min_size=1, max_size=2).map(tuple)
unless = st.none() | asks
rules_of_all_kinds = st.one_of(
    st.builds(Modelled, st.sampled_from(["remove", "remove", "keep"]), conditions, unless),
    st.builds(
        Modelled, st.just("share"), conditions, unless, st.sampled_from([0.25, 0.4, 0.5, 1.0]), st.integers(1, 3)
    ),
    st.builds(Modelled, st.just("survivors"), st.just(()), unless, below=st.integers(1, 6)),
)
scores = st.sampled_from([0.0, 0.1, 0.5, float(np.float32(0.7)), 0.7, 0.9, 1.0])
faces = st.fixed_dictionaries({"folder": st.sampled_from(FOLDERS), "people": scores, "mask": scores})


@given(st.lists(faces, min_size=1, max_size=16), st.lists(rules_of_all_kinds, min_size=1, max_size=5))
@settings(max_examples=9)
def test_a_policy_decides_as_the_model_does(images: list[dict[str, Any]], rules: list[Modelled]) -> None:
    """First rule, all rules, overlaps, totals and manifests are those of a plain model, for rules of every kind."""
    first, every = decide(images, rules)
    sides = ["keep" if k is None else rules[k].side for k in first]
    with TemporaryDirectory() as folder:
        store = faces_store(Path(folder, "store"), images)
        policy = file_of(Path(folder), "".join(rule.toml(number) for number, rule in enumerate(rules)))
        session = ask(store)
        found = session.select(policy)
        rows = {row["uri"]: row for row in session.decisions(policy).to_pylist()}
        run = session.export(f"{folder}/run", policy, report=False)
        written = {name: read_csv(Path(run.place, f"{name}.csv")) for name in MANIFESTS}
    decided = [rows[f"s3://photos/in/{image['folder']}/{k}.jpg"] for k, image in enumerate(images)]
    assert [row["rule"] for row in decided] == [None if k is None else str(k) for k in first]
    assert [" ".join(filter(None, (row["decision"], row["quarantine"]))) for row in decided] == sides
    assert [(r["decides"], r["holds_for"]) for r in found.rules.to_pylist()] == [
        (first.count(number), sum(holds)) for number, holds in enumerate(every)
    ]
    pairs = {
        (i + 1, j + 1): sum(map(all, zip(every[i], every[j], strict=True)))
        for i, j in combinations(range(len(rules)), 2)
    }
    overlaps = {(row["upper_number"], row["lower_number"]): row["images"] for row in found.overlaps.to_pylist()}
    assert overlaps == {pair: images for pair, images in pairs.items() if images}
    counts = Counter(sides)
    assert (found.removed, found.kept, found.errors) == (counts["remove"], counts["keep"], 1)
    assert {f"quarantine {label}": n for label, n in found.quarantined.items() if n} == {
        side: n for side, n in counts.items() if side.startswith("quarantine")
    }
    assert (
        found.removed + found.kept + sum(found.quarantined.values()) + found.errors == found.listed == len(images) + 1
    )
    assert {name: len(found) for name, found in written.items()} == {
        "removed": run.removed,
        "kept": run.kept,
        "quarantined": sum(run.quarantined.values()),
        "errors": run.errors,
    }
    for row in (row for name in ("removed", "kept", "quarantined") for row in written[name]):
        assert {name: row[name] or None for name in ("rule", "group_name", "quarantine", "reason")} == {
            name: rows[row["uri"]][name] for name in ("rule", "group_name", "quarantine", "reason")
        }


def faces_store(folder: Path, images: Sequence[dict[str, Any]]) -> EncoderStore:
    """A store of these images, `in/<folder>/<place>.jpg`, with their scores, and one that failed."""
    store = new_store(folder)
    objects = [listed(f"in/{image['folder']}/{k}.jpg") for k, image in enumerate(images)]
    failed = listed("in/anna/broken.jpg")
    list_source(store, [*objects, failed])
    add_part(store, [*(embedded(one, words="one") for one in objects), broken(failed)])
    named = {c: {one.key: image[c] for one, image in zip(objects, images, strict=True)} for c in ("people", "mask")}
    return put_scores(store, named)


@given(st.lists(scores, min_size=1, max_size=20), st.sampled_from(THRESHOLDS), st.sampled_from(THRESHOLDS))
@settings(max_examples=5)
def test_select_is_sweep_is_export(people: list[float], one: str, other: str) -> None:
    """At every threshold select, sweep and export count the same; a higher threshold removes fewer."""
    images = [{"folder": "anna", "people": score, "mask": 0.0} for score in people]
    low, high = sorted((one, other))
    with TemporaryDirectory() as folder:
        session = ask(faces_store(Path(folder, "store"), images))
        swept = {round(row["threshold"], 2): row for row in session.sweep("people", 100).to_pylist()}
        removed = []
        for number, threshold in enumerate((low, high)):
            found = session.select(remove=[f"people >= {threshold}"])
            run = session.export(f"{folder}/run{number}", remove=[f"people >= {threshold}"], report=False)
            row = swept[float(threshold)]
            assert (found.removed, found.kept) == (row["removed"], row["kept"]) == (run.removed, run.kept)
            assert len(removed_keys(run.place, "removed.csv")) == found.removed
            removed.append(found.removed)
    assert removed[0] >= removed[1]


# what decided


def decisions(session: Session, *rules: str) -> dict[str, tuple[Any, ...]]:
    """By key, what each decision rests on: attribute, score, operator, threshold."""
    rows = session.decisions(remove=rules).to_pylist()
    return {
        row["uri"].removeprefix("s3://photos/in/"): (row["attribute"], row["score"], row["operator"], row["threshold"])
        for row in rows
        if row["rule"] is not None
    }


@pytest.mark.parametrize(
    ("rule", "key", "fact"),
    [
        ("people >= 0.50", "06.jpg", ("people", 0.5, ">=", 0.5)),
        ("0.5 <= people", "06.jpg", ("people", 0.5, ">=", 0.5)),
        ("people >= 0.95 or width_px > 600", "06.jpg", ("width_px", 640.0, ">", 600.0)),
        ("people >= 0.9 or width_px > 600", "11.jpg", ("people", 0.9166667, ">=", 0.9)),
        ("width_px > 600 and people >= 0.5", "06.jpg", ("width_px", 640.0, ">", 600.0)),
        ("not (people < 0.5)", "06.jpg", ("people", 0.5, ">=", 0.5)),
        ("people between 0.4 and 0.6", "06.jpg", ("people", 0.5, ">=", 0.4)),
        ("uri like '%/06.jpg'", "06.jpg", (None, None, None, None)),
        ("width_px * 2 > 5 and people < 0.6", "06.jpg", ("people", 0.5, "<", 0.6)),
        ("people >= (select avg(people) from scores)", "06.jpg", (None, None, None, None)),
    ],
)
def test_the_deciding_fact(asked: Session, rule: str, key: str, fact: tuple[Any, ...]) -> None:
    """A decision names the first comparison with a number that holds for its image, and the score; else nothing."""
    assert decisions(asked, rule)[key] == fact


def test_a_fact_is_of_the_rule_that_decided(asked: Session) -> None:
    """Of two rules that hold, the deciding one's comparison stands there, also where its column is another's too."""
    found = decisions(asked, "people >= 0.9", "people >= 0.5", "width_px > 5")
    assert found["11.jpg"] == ("people", 0.9166667, ">=", 0.9)
    assert found["06.jpg"] == ("people", 0.5, ">=", 0.5)
    assert found["00.jpg"] == ("width_px", 640.0, ">", 5.0)


def test_a_group_says_its_share_and_its_survivors(tmp_path: Path) -> None:
    """A quarantine rests on its group's share of one attribute, or on how many survived, and names the group."""
    keys = [f"{name}/{k}.jpg" for name in FOLDERS for k in range(5)]
    masks = {f"in/anna/{k}.jpg": 0.9 for k in range(2)} | {"in/ben/0.jpg": 0.9}
    store = put_scores(small_store(tmp_path / "store", keys), {"mask": masks, "sunglasses": {"in/anna/2.jpg": 0.9}})
    facts = {
        (row["group_name"], row["quarantine"], row["attribute"], row["score"], row["operator"], row["threshold"])
        for row in ask(store).decisions("occlusion").to_pylist()
        if row["decision"] == "quarantine"
    }
    assert facts == {
        ("in/anna", "masked", "share of mask >= 0.70", 0.4, ">=", 0.4),
        ("in/ben", "thin", "survivors", 4.0, "<", 5.0),
    }


def test_a_rule_over_vectors(asked: Session) -> None:
    """A rule may ask of the embedding itself, which is read from the files, and of scores beside it."""
    rules = ["list_inner_product(embedding, embedding) > 0.5 and people >= 0.5"]
    found = asked.select(remove=rules)
    assert found.removed == 6
    assert decisions(asked, *rules)["06.jpg"] == ("people", 0.5, ">=", 0.5)


# select


def test_the_nearest_to_each_threshold(asked: Session) -> None:
    """The nearest for which a comparison holds come first, equality among them, then those of the other side."""
    found = asked.select(remove=["people >= 0.5", "width_px < 640"], nearest=2).nearest.to_pylist()
    near = [(n["comparison"], n["holds"], n["uri"][-6:-4], n["score"], n["distance"]) for n in found]
    assert near[:4] == [
        ("people >= 0.5", True, "06", 0.5, 0.0),
        ("people >= 0.5", True, "07", 0.5833333, 0.0833333),
        ("people >= 0.5", False, "05", 0.4166667, 0.0833333),
        ("people >= 0.5", False, "04", 0.3333333, 0.1666667),
    ]
    assert [(comparison, holds, distance) for comparison, holds, _, _, distance in near[4:]] == [
        ("width_px < 640", False, 0.0)
    ] * 2


@pytest.mark.parametrize(
    ("rule", "below"),
    [
        ("people >= 0.5", {"05"}),
        ("people >= 0.5 and key > 'in/02'", {"05"}),
        ("people >= 0.5 and key < 'in/04'", {"03"}),
        ("people >= 0.5 or key >= 'in/03'", {"02"}),
        ("not (people < 0.5 or key > 'in/04')", {"03"}),
        ("(people) >= 0.5 and key < 'in/04'", {"03"}),
        ("people between 0.5 and 0.7 and key < 'in/04'", {"03"}),
        ("((people)) between 0.5 and 0.7 and key < 'in/04'", {"05"}),
        ("case when key = 'in/02.jpg' then people >= 0.5 else false end", {"02"}),
        ("len(key) = 9 and try_cast(key as integer) is null and people >= 0.5", {"05"}),
    ],
)
def test_the_nearest_are_those_that_it_matters_for(asked: Session, rule: str, below: set[str]) -> None:
    """Of several comparisons each shows the images whose fate it decides; where that cannot be told, all of them."""
    near = asked.select(remove=[rule], nearest=1).nearest.to_pylist()
    assert {n["uri"][-6:-4] for n in near if n["comparison"].startswith("people >=") and not n["holds"]} == below


def test_without_nearest(asked: Session) -> None:
    """With nearest=0 there is a table without rows, of the same columns."""
    selection = asked.select(remove=["people >= 0.5"])
    assert asked.select(remove=["people >= 0.5"], nearest=0).nearest.schema == selection.nearest.schema


def test_nothing_stays_behind(store: EncoderStore, tmp_path: Path) -> None:
    """A session that has answered holds no more tables than the one it counts from, also after a mistake."""
    session = ask(store)
    session.select(remove=["people >= 0.5"])
    tables = "select table_name as name from duckdb_tables() union all select view_name from duckdb_views()"
    before = sorted(row["name"] for row in session.sql(tables).to_pylist())
    (tmp_path / "t.csv").write_text("key,a\nin/00.jpg,1\n")
    policy = file_of(
        tmp_path, f'[[rule]]\nname = "r"\nremove = "a > 5"\n[table.t]\npath = "t.csv"\non = "key"\n{GROUPS}'
    )
    session.select(policy)
    session.decisions(policy)
    session.export(str(tmp_path / "run"), policy)
    session.diff(policy, policy)
    with pytest.raises(Exception, match="try_cast"):
        session.select(remove=["key::int > 5"])
    assert sorted(row["name"] for row in session.sql(tables).to_pylist()) == before


GROUPS = """
[[rule]]
name = "g"
quarantine = "q"
group = "folder"
any = ["people >= 0.5"]
share_at_least = 0.9
[[rule]]
name = "h"
quarantine = "thin"
group = { regex = '(in)' }
survivors_below = 5
"""


def test_more_rules_than_bits(asked: Session) -> None:
    """Sixty-six rules, more than an integer has bits, are counted as three are."""
    rules = [f"people >= {k / 66}" for k in range(66, 0, -1)]
    found = asked.select(remove=rules, nearest=0)
    assert found.removed == 11
    assert sum(row["decides"] for row in found.rules.to_pylist()) == 11
    assert [row["holds_for"] for row in found.rules.to_pylist()] == [
        sum(np.float32(k / 12) >= np.float32(t / 66) for k in range(12)) for t in range(66, 0, -1)
    ]
    assert found.overlaps.num_rows == 60 * 59 / 2  # 60/66 and below hold for some image


# diff


def test_what_changes_sides(tmp_path: Path) -> None:
    """Only what stands on another side counts, with both rules; another rule of the same side is no change."""
    store = stepped_store(tmp_path / "store")
    old = file_of(tmp_path, '[[rule]]\nname = "old"\nremove = "people >= 0.5"\n', "old.toml")
    new = file_of(
        tmp_path,
        '[[rule]]\nname = "keep"\nkeep = "key = \'in/11.jpg\'"\n[[rule]]\nname = "new"\nremove = "people >= 0.25"\n',
        "new.toml",
    )
    difference = ask(store).diff(old, new)
    assert difference.counts.to_pylist() == [
        {"was": "keep", "was_by": None, "becomes": "remove", "becomes_by": "new", "images": 3},
        {"was": "remove", "was_by": "old", "becomes": "keep", "becomes_by": "keep", "images": 1},
    ]
    assert [row["uri"][-6:-4] for row in difference.changed.to_pylist()] == ["03", "04", "05", "11"]
    assert [row["uri"][-6:-4] for row in ask(store).diff(old, new, examples=1).changed.to_pylist()] == ["03", "11"]
    assert ask(store).diff(old, old).counts.num_rows == 0
    assert ask(store).diff(None, old, ["people >= 0.5"]).changed.num_rows == 0


def test_a_diff_is_what_decisions_say(tmp_path: Path) -> None:
    """What changes sides between two shipped policies is what their decisions differ in."""
    keys = [f"{name}/{k}.jpg" for name in FOLDERS for k in range(5)]
    masks = {f"in/{key}": 0.9 for key in (*keys[:3], keys[7], keys[12])}
    people = {f"in/{key}": 0.9 for key in keys[:8]}
    store = put_scores(small_store(tmp_path / "store", keys), {"mask": masks, "sunglasses": {}, "people": people})
    sides = [
        {
            row["uri"]: " ".join(filter(None, (row["decision"], row["quarantine"])))
            for row in ask(store).decisions(name).to_pylist()
        }
        for name in ("occlusion", "occlusion-mixed")
    ]
    changed = ask(store).diff("occlusion", "occlusion-mixed").changed.to_pylist()
    assert {row["uri"]: (row["was"], row["becomes"]) for row in changed} == {
        uri: (side, sides[1][uri]) for uri, side in sides[0].items() if side != sides[1][uri]
    }
    assert changed


# export


def test_an_export_of_a_policy(tmp_path: Path) -> None:
    """Every manifest is in the order of URIs; the metadata holds the policy's text, its hash, tables and rules."""
    keys = [f"{name}/{k}.jpg" for name in FOLDERS for k in range(5)]
    store = put_scores(
        small_store(tmp_path / "store", keys),
        {"mask": {f"in/anna/{k}.jpg": 0.9 for k in range(2)} | {"in/ben/0.jpg": 0.7}, "sunglasses": {}},
    )
    assert ask(store).verify().sound
    run = ask(store).export(str(tmp_path / "run"), "occlusion")
    assert (run.removed, run.kept, run.quarantined, run.errors, run.listed) == (1, 5, {"masked": 5, "thin": 4}, 2, 17)
    for name in MANIFESTS:
        uris = [row["uri"] for row in read_csv(Path(run.place, f"{name}.csv"))]
        assert uris == sorted(uris)
    record = json.loads(Path(run.place, "run_metadata.json").read_bytes())
    text = shipped_policies()["occlusion"]
    assert record["policy"] == {"name": "occlusion", "sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}
    assert record["counts"] == {
        "listed": 17,
        "removed": 1,
        "kept": 5,
        "quarantined": {"masked": 5, "thin": 4},
        "errors": 2,
        "pending": 0,
    }
    assert [
        (rule["number"], rule["rule"], rule["action"], rule["decides"], rule["holds_for"]) for rule in record["rules"]
    ] == [
        (1, "masked group", "quarantine masked", 5, 5),
        (2, "mask", "remove", 1, 3),
        (3, "sunglasses", "remove", 0, 0),
        (4, "thin group", "quarantine thin", 4, 5),
    ]
    assert {concept["name"]: concept["used_by_a_rule"] for concept in record["concepts"]} == {
        "mask": True,
        "sunglasses": True,
    }


def test_a_run_names_the_tables_that_it_asked(store: EncoderStore, tmp_path: Path) -> None:
    """What a joined table held is part of what decided, so the run has its hash."""
    (tmp_path / "t.csv").write_text("key,a\nin/00.jpg,1\n")
    policy = file_of(tmp_path, '[[rule]]\nname = "r"\nremove = "a = 1"\n[table.t]\npath = "t.csv"\non = "key"\n')
    run = ask(store).export(str(tmp_path / "run"), policy)
    (table,) = json.loads(Path(run.place, "run_metadata.json").read_bytes())["tables"]
    assert run.removed == 1
    assert table["sha256"] == hashlib.sha256((tmp_path / "t.csv").read_bytes()).hexdigest()
    assert (table["name"], table["on"]) == ("t", "key")


@pytest.mark.parametrize(("at_a_time", "more_ranges"), [(1, 23), (4, 1), (24, 0)])
def test_manifests_are_written_a_range_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int, more_ranges: int
) -> None:
    """Written in many ranges of URIs, the manifests are byte for byte those that are written at once."""
    keys = [f"{name}/{k}.jpg" for name in FOLDERS for k in range(5)]
    odd = ["a,comma.jpg", "new\nline.jpg", 'q"uote.jpg', "日本.jpg", "\U0010fffe.jpg"]
    store = small_store(tmp_path / "store", [*keys, *odd], pending=["late.jpg", "anna/later.jpg"])
    masks = {f"in/anna/{k}.jpg": 0.9 for k in range(2)} | {"in/ben/0.jpg": 0.7}
    store = put_scores(store, {"mask": masks, "sunglasses": {}})
    session = ask(store)
    whole = session.export(str(tmp_path / "whole"), "occlusion", jsonl=True)
    append, appended = forms._append, []

    def noted(part: Path, path: Path) -> None:
        append(part, path)
        appended.append(path.name)

    monkeypatch.setattr(manifests, "RANGE_OBJECTS", at_a_time)
    monkeypatch.setattr(forms, "_append", noted)
    run = session.export(str(tmp_path / "run"), "occlusion", jsonl=True)
    assert len(appended) >= (1 + more_ranges) * len(MANIFESTS)
    for name in ("removed", "kept", "quarantined", "errors", "pending", "listed"):
        assert getattr(run, name) == getattr(whole, name)
    assert (run.pending, run.listed) == (2, 24)
    written, at_once = files_of(Path(run.place)), files_of(Path(whole.place))
    texts = {f"{name}.{form}" for name in MANIFESTS for form in ("csv", "jsonl")}
    assert {*written} == {*at_once} > texts
    for name in texts:
        assert written[name] == at_once[name]
    for name in MANIFESTS:
        tables = [pq.read_table(f"{one.place}/{name}.parquet") for one in (run, whole)]
        assert tables[0].equals(tables[1])


def test_a_doubled_image_never_hides_an_error(store: EncoderStore, tmp_path: Path) -> None:
    """An image that stands twice in a part makes up for no object that failed: nothing is written."""
    add_part(store, [embedded(listed("in/00.jpg")), embedded(listed("in/01.jpg"))], number=1, part=7)
    with pytest.raises(Exception, match=r"Removed .* \+ kept .* \+ quarantined .* \+ errors .*14.*clipsieve verify"):
        ask(store).export(str(tmp_path / "run"), remove=["width_px > 5"])
    assert not (tmp_path / "run").exists()


def test_an_empty_store(tmp_path: Path) -> None:
    """Where nothing has been listed, a policy decides nothing, and every manifest has its header."""
    store = new_store(tmp_path / "store")
    found = ask(store).select(remove=["width_px < 5"])
    assert (found.removed, found.kept, found.errors, found.listed) == (0, 0, 0, 0)
    assert [(r["decides"], r["holds_for"]) for r in found.rules.to_pylist()] == [(0, 0)]
    run = ask(store).export(str(tmp_path / "run"), remove=["width_px < 5"])
    assert run.listed == 0
    assert all(Path(run.place, f"{name}.csv").read_text().startswith("uri,bucket,key,") for name in MANIFESTS)


# the commands


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user stands beside a store of three people's folders: anna half masked, ben with one mask."""
    keys = [f"{name}/{k}.jpg" for name in FOLDERS for k in range(5)]
    masks = {f"in/anna/{k}.jpg": 0.9 for k in range(2)} | {"in/ben/0.jpg": 0.71}
    put_scores(small_store(tmp_path / "faces", keys), {"mask": masks, "sunglasses": {}, "people": {}})
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_select_for_people() -> None:
    """Totals, counts by rule with reasons, what rules share, and the nearest; nothing is written."""
    result = typed("select", "faces", "occlusion", "--nearest", "1")
    assert result.exit_code == 0
    text = result.stdout
    assert text.startswith("Removed 1 (5.9%), kept 5, quarantined 5 as masked and 4 as thin, errors 2; listed 17.\n")
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert (
        "1 masked group quarantine masked 5 5 at least 40 % of the folder's images have the same part of the face c…"
        in rows
    )
    assert "1 masked group 2 mask 2" in rows
    assert "1 masked group, 2 mask mask >= 0.70 yes 0.7100 0.0100 s3://photos/in/ben/0.jpg" in rows
    assert [path.name for path in Path().iterdir()] == ["faces"]


@pytest.mark.usefixtures("_here")
def test_conditions_have_no_reason_beside_their_name() -> None:
    """A condition is its own reason and stands once; without overlap or nearest, neither table is there."""
    result = typed("select", "faces", "--remove", "mask >= 0.7", "--remove", "sunglasses >= 0.7", "--nearest", "0")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["rule", "action", "decides", "holds", "for"],
        ["1", "mask", ">=", "0.7", "remove", "3", "3"],
        ["2", "sunglasses", ">=", "0.7", "remove", "0", "0"],
    ]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_select_for_machines(kind: str) -> None:
    """Counts by rule as CSV and Parquet; JSON holds everything."""
    result = typed("select", "faces", "occlusion", "--format", kind)
    if kind == "json":
        record = json.loads(result.stdout)
        assert set(record) == {
            "policy",
            "listed",
            "removed",
            "kept",
            "quarantined",
            "errors",
            "rules",
            "overlaps",
            "nearest",
        }
        assert (record["listed"], record["removed"], record["quarantined"]) == (17, 1, {"masked": 5, "thin": 4})
        rules = record["rules"]
    else:
        rules = parsed(result, kind)
    assert [(rule["rule"], int(rule["decides"])) for rule in rules] == [
        *(("masked group", 5), ("mask", 1)),
        *(("sunglasses", 0), ("thin group", 4)),
    ]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("kind", ["table", "csv", "json", "parquet"])
def test_diff(kind: str) -> None:
    """People see counts and examples, machines every image that changes sides."""
    result = typed("select", "faces", "occlusion", "--diff", "occlusion-mixed", "--nearest", "1", "--format", kind)
    if kind == "table":
        assert result.stdout.startswith("From occlusion to occlusion-mixed: 10 images change sides.\n")
        assert "s3://photos/in/anna/0.jpg  quarantine masked  masked group  keep" in result.stdout
        assert "anna/1.jpg" not in result.stdout
    else:
        rows = parsed(result, kind)
        assert len(rows) == 10
        assert set(rows[0]) == {"uri", "was", "was_by", "becomes", "becomes_by"}


@pytest.mark.usefixtures("_here")
def test_no_change() -> None:
    """Two policies that decide alike leave one line."""
    result = typed("select", "faces", "people-strict", "--diff", "people-lenient")
    assert result.stdout == "From people-strict to people-lenient: 0 images change sides.\n"


@pytest.mark.usefixtures("_here")
def test_an_export_by_policy_for_people() -> None:
    """`export` says what `select` says, and where it is written."""
    result = typed("export", "faces", "occlusion", "--to", "run")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        typed("select", "faces", "occlusion", "--nearest", "0").stdout.partition("\n\n")[0][:80]
    )
    run = only_run("run")
    assert f"Written to {run.resolve()}: errors.csv, errors.parquet, kept.csv" in result.stdout
    with (run / "quarantined.csv").open(newline="") as file:
        assert Counter(row["quarantine"] for row in csv.DictReader(file)) == {"masked": 5, "thin": 4}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("select", "faces"), "Shipped policies: occlusion"),
        (("select", "faces", "--diff", "occlusion"), "one of the two"),
        (("select", "faces", "ocluson"), "Nearest: occlusion"),
        (("select", "faces", "occlusion", "--diff", "peple-strict"), "Nearest: people-strict"),
        (("select", "faces", "occlusion", "--remove", "true"), "one of the two"),
        (("export", "faces", "--to", "run"), "one of the two"),
    ],
)
def test_wrong_words(words: tuple[str, ...], says: str) -> None:
    """What is missing or unknown is one line and wrong use."""
    result = typed(*words)
    assert result.exit_code == 2
    assert says in one_line(result)
