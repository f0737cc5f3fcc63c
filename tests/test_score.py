"""Scores: what they are, what is computed and what is kept, and that two wordings of a concept are never mixed."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from query.scoring.kinds import Concept, Ensemble
from query.scoring.score import score
from query.scoring.score_sets import read_sets, set_of
from store.errors import MissingExtra, NotScored, StoreDamaged, UnknownName
from store.layout import EncoderStore
from store.parts import parquet_bytes, read_part
from store.prompts import add_prompts
from tests.scoring import (
    Killed,
    killing,
    other_wording,
    reference,
    run,
    scores_of,
    shipped_ensemble,
)
from tests.stores import (
    MASK,
    PEOPLE,
    HashTower,
    add_part,
    ask,
    broken,
    embedded,
    list_source,
    listed,
    new_store,
    no_tower,
    small_store,
    unit,
)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Two parts of six images each, and what failed."""
    return small_store(tmp_path / "store")


def score_files(store: EncoderStore) -> dict[str, tuple[bytes, int]]:
    """The scores in the store: bytes and time of writing, by name."""
    root = Path(store.location.uri, "scores")
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_scores_are_the_softmax_of_the_definition(store: EncoderStore) -> None:
    """Every score of every embedded image equals the float64 reference within 1e-5; what failed has none."""
    run(store, PEOPLE, MASK)
    for concept in (PEOPLE, MASK):
        expected = reference(store, concept)
        assert len(expected) == 12
        assert scores_of(store, concept.name) == pytest.approx(expected, abs=1e-5)


def test_scores_spread(store: EncoderStore) -> None:
    """The scores of these stores are no constant, so that what the other tests compare means something."""
    run(store, PEOPLE)
    values = scores_of(store).values()
    assert min(values) < 0.2
    assert max(values) > 0.8


def test_scoring_twice_writes_nothing(store: EncoderStore) -> None:
    """A second run computes no part, asks no text tower and leaves every file as it was written."""
    assert run(store, PEOPLE).parts_scored == 2
    before, tower = score_files(store), HashTower()
    report = run(store, PEOPLE, tower=tower)
    assert (report.parts, report.parts_scored, report.prompts_encoded) == (2, 0, 0)
    assert tower.asked == []
    after = score_files(store)
    assert {k: v for k, v in after.items() if k.endswith(".parquet")} == {
        k: v for k, v in before.items() if k.endswith(".parquet")
    }


def test_only_parts_that_lack_scores_are_computed(store: EncoderStore) -> None:
    """After a new part was embedded, that part alone is scored."""
    run(store, PEOPLE)
    before = score_files(store)
    part = add_part(store, [embedded(listed("in/new.jpg"))], number=2)
    with pytest.raises(NotScored, match="2 of 3 parts"):
        ask(store).sweep("people")
    assert run(store, PEOPLE).parts_scored == 1
    written = {name for name, file in score_files(store).items() if file != before.get(name)}
    assert {name.rpartition("/")[2] for name in written if name.endswith(".parquet")} == {f"{part}.parquet"}


def test_a_removed_file_comes_back(store: EncoderStore) -> None:
    """Scores are derived: a file that is removed is written again, with the same bytes."""
    run(store, PEOPLE)
    before = score_files(store)
    victim = next(name for name in before if name.endswith(".parquet"))
    Path(store.location.uri, "scores", victim).unlink()
    assert run(store, PEOPLE).parts_scored == 1
    assert score_files(store)[victim][0] == before[victim][0]


def test_a_new_concept_leaves_the_others_as_they_are(store: EncoderStore) -> None:
    """A concept that is added brings its column; the columns that were there keep every bit, and one set remains."""
    run(store, PEOPLE)
    before = scores_of(store)
    report = run(store, MASK)
    assert report.concepts == ("mask", "people")
    assert scores_of(store) == before
    assert [scored.names for scored in read_sets(store.refreshed())] == [("mask", "people")]
    assert scores_of(store, "mask") == pytest.approx(reference(store, MASK), abs=1e-5)


def test_columns_are_taken_over_and_not_computed(store: EncoderStore) -> None:
    """What another set holds is read from it: a score that was changed there is found again beside the new column."""
    run(store, PEOPLE)
    (old,) = read_sets(store.refreshed())
    part = old.parts[0]
    table = read_part(store.location, old.file(part))
    changed = table.set_column(3, table.schema.field(3), pa.array([0.125] * table.num_rows, pa.float32()))
    store.location.write(old.file(part), parquet_bytes(changed))
    run(store, MASK)
    assert list(scores_of(store).values()).count(0.125) == table.num_rows


def test_changed_prompts_are_scored_anew(store: EncoderStore) -> None:
    """Under other prompts every part is scored anew; no score of the old wording is left or mixed in."""
    run(store, PEOPLE, MASK)
    changed = other_wording(PEOPLE)
    report = run(store, changed)
    assert report.parts_scored == 2
    assert scores_of(store) == pytest.approx(reference(store, changed), abs=1e-5)
    assert scores_of(store, "mask") == pytest.approx(reference(store, MASK), abs=1e-5)
    assert len(read_sets(store.refreshed())) == 1


def test_two_wordings_are_never_mixed(store: EncoderStore) -> None:
    """Killed while a new wording is scored, the store answers by the old one; by the new one once it is done."""
    run(store, PEOPLE)
    old, changed = scores_of(store), other_wording(PEOPLE)
    with pytest.raises(Killed):
        run(store, changed, on_part=killing(1))
    assert scores_of(store) == old
    assert run(store, changed).parts_scored == 1
    assert scores_of(store) == pytest.approx(reference(store, changed), abs=1e-5)


def test_an_interrupted_rewording_is_gone_on_with(store: EncoderStore) -> None:
    """Killed while a new wording is scored, a plain `score` goes on with that wording, not back to the old one."""
    run(store, PEOPLE)
    changed = other_wording(PEOPLE)
    with pytest.raises(Killed):
        run(store, changed, on_part=killing(1))
    ask(store, HashTower()).score()
    assert scores_of(store) == pytest.approx(reference(store, changed), abs=1e-5)


def test_a_shipped_name_means_the_shipped_wording(store: EncoderStore) -> None:
    """`score people` scores as the shipped file says, also where the store holds scores of another wording."""
    run(store, PEOPLE)
    ask(store, HashTower()).score("people")
    assert scores_of(store) == pytest.approx(reference(store, shipped_ensemble("people")), abs=1e-5)


def test_another_threshold_computes_nothing(store: EncoderStore) -> None:
    """A threshold is no part of a score: changed, it is what is suggested from then on, and no part is computed."""
    run(store, PEOPLE)
    before = scores_of(store)
    report = run(store, dataclasses.replace(PEOPLE, threshold=0.9, description="words"))
    assert report.parts_scored == 0
    assert scores_of(store) == before
    assert ask(store).threshold("people") == 0.9


def test_the_tower_is_asked_once(store: EncoderStore) -> None:
    """All prompts without a vector are encoded in one call, each once, and kept; the others are never encoded again."""
    add_prompts(store, ["people"], unit("people")[None])
    tower = HashTower()
    both = [PEOPLE, dataclasses.replace(MASK, negative=("people", "a bare face"))]
    report = run(store, *both, tower=tower)
    assert tower.asked == [["a bare face", "a landscape", "a person", "a worn mask", "an empty room"]]
    assert report.prompts_encoded == 5
    run(store, other_wording(PEOPLE), tower=tower)
    assert tower.asked[1:] == [["somebody else"]]


def test_without_a_tower_there_is_one_sentence(store: EncoderStore) -> None:
    """Where prompts lack vectors and torch is missing, one error says so, nothing is scored; cached ones need none."""
    with pytest.raises(MissingExtra):
        score(store, [PEOPLE], no_tower)
    assert store.refreshed().parts("scores") == []
    texts = list(PEOPLE.prompts)
    add_prompts(store, texts, HashTower().encode(texts))
    assert score(store.refreshed(), [PEOPLE], no_tower).parts_scored == 2


def test_killed_in_the_middle_it_continues(store: EncoderStore) -> None:
    """Killed after the first part, the next run computes the other, and the answer is that of an undisturbed run."""
    with pytest.raises(Killed):
        run(store, PEOPLE, on_part=killing(1))
    with pytest.raises(NotScored, match=r"1 of 2 parts.*clipsieve score"):
        ask(store).sweep("people")
    assert ask(store).unscored_parts() == 1
    assert run(store, PEOPLE).parts_scored == 1
    assert ask(store).unscored_parts() == 0
    assert scores_of(store) == pytest.approx(reference(store, PEOPLE), abs=1e-5)


def test_a_second_process_is_not_undone(store: EncoderStore) -> None:
    """A set that another process writes meanwhile is left alone, and the next run brings both together."""

    def second(done: int, _every: int) -> None:
        if done == 1:
            run(store, MASK)

    run(store, other := Ensemble("night", ("at night",), ("at noon",)), on_part=second)
    assert {scored.names for scored in read_sets(store.refreshed())} >= {("mask", "night")}
    assert scores_of(store, "mask") == pytest.approx(reference(store, MASK), abs=1e-5)
    run(store, MASK, other)
    assert scores_of(store, "night") == pytest.approx(reference(store, other), abs=1e-5)


def test_a_set_that_is_replaced_meanwhile_is_computed(store: EncoderStore) -> None:
    """Where a second process replaces the set whose columns are being taken over, they are computed instead."""
    run(store, PEOPLE)

    def second(done: int, _every: int) -> None:
        if done == 1:
            run(store, MASK)

    night = Ensemble("night", ("at night",), ("at noon",))
    report = run(store, night, on_part=second)
    assert report.parts_scored == 2
    run(store, MASK, night)
    for concept in (PEOPLE, MASK, night):
        assert scores_of(store, concept.name) == pytest.approx(reference(store, concept), abs=1e-5)


def test_unreadable_old_scores_are_computed(store: EncoderStore) -> None:
    """A damaged file of scores is answered with a sentence, and replaced when the next concept is scored."""
    run(store, PEOPLE)
    (old,) = read_sets(store.refreshed())
    path = Path(store.location.uri, old.file(old.parts[0]))
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"x" * 60 + content[64:])
    with pytest.raises(StoreDamaged, match="clipsieve verify"):
        ask(store).sweep("people")
    assert not ask(store).verify().sound
    run(store, MASK)
    assert scores_of(store) == pytest.approx(reference(store, PEOPLE), abs=1e-5)


def test_an_unreadable_part_is_named(store: EncoderStore) -> None:
    """A damaged page of images stops scoring with the file's name and the way out."""
    path = Path(store.location.uri, store.parts("images")[0])
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"x" * (len(content) // 2) + content[4 + len(content) // 2 :])
    with pytest.raises(StoreDamaged, match=r"images/.*parquet cannot be read.*clipsieve embed"):
        run(store, PEOPLE)


def test_a_record_that_is_none(store: EncoderStore) -> None:
    """A set's record that cannot be read is named, with what to remove."""
    run(store, PEOPLE)
    (old,) = read_sets(store.refreshed())
    store.location.write(f"scores/{old.set_id}/set.json", b"{}")
    with pytest.raises(StoreDamaged, match=f"Remove the folder scores/{old.set_id}"):
        ask(store).sql("select 1")


@pytest.mark.parametrize("statuses", [[], ["failed"], ["failed", "embedded"], ["embedded", "failed", "failed"]])
def test_parts_without_embeddings_are_scored_too(tmp_path: Path, statuses: list[str]) -> None:
    """A store without images, or with parts in which everything failed, is scored like any other."""
    store = new_store(tmp_path / "store")
    objects = [listed(f"in/{k}.jpg") for k in range(len(statuses))]
    list_source(store, objects)
    for part, (one, status) in enumerate(zip(objects, statuses, strict=True)):
        add_part(store, [embedded(one) if status == "embedded" else broken(one)], part=part)
    for concept in (PEOPLE, MASK):
        assert run(store, concept).parts_scored == len(statuses)
    assert len(scores_of(store)) == statuses.count("embedded")
    assert ask(store).sweep("people").to_pylist()[0]["removed"] == statuses.count("embedded")


def test_a_retry_that_succeeded_is_scored(store: EncoderStore) -> None:
    """An image that failed in one run and succeeded in the next has one score."""
    run(store, PEOPLE)
    add_part(store, [embedded(listed("in/broken.jpg", size_bytes=7), minute=5)], number=2)
    run(store, PEOPLE)
    assert len(scores_of(store)) == 13


def test_names_and_files(store: EncoderStore, tmp_path: Path) -> None:
    """Brought by a file once, a concept of one's own goes by its name from then on; without words all are scored."""
    path = tmp_path / "mine.toml"
    path.write_text('[concept.night]\npositive = ["at night"]\nnegative = ["at noon"]\n')
    session = ask(store, HashTower())
    with pytest.raises(UnknownName):
        session.score("night")
    assert session.score(str(path)).concepts == ("night",)
    assert session.score("night").parts_scored == 0
    assert set(session.score().concepts) >= {"night", "people", "mask", "sunglasses"}
    assert session.score().parts_scored == 0


def test_a_set_is_named_after_its_content() -> None:
    """The order of concepts, their thresholds and descriptions do not change a set's id; prompts and names do."""
    base = set_of([PEOPLE, MASK]).set_id
    assert set_of([MASK, dataclasses.replace(PEOPLE, threshold=0.1)]).set_id == base
    others: dict[str, Concept] = {
        "prompts": other_wording(PEOPLE),
        "name": dataclasses.replace(PEOPLE, name="persons"),
    }
    assert len({base, *(set_of([MASK, concept]).set_id for concept in others.values())}) == 3
