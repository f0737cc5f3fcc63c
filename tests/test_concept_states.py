"""`clipsieve concepts`: which scores are up to date, what has changed since, and how scores are spread."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from query.scoring.kinds import Ensemble
from store.errors import UnknownName
from store.layout import EncoderStore
from tests.commands import parsed, typed
from tests.scoring import (
    Killed,
    killing,
    of_every_kind,
    reference,
    run,
    scores_of,
    shipped_ensemble,
    states,
)
from tests.stores import (
    DIM,
    PEOPLE,
    HashTower,
    add_part,
    ask,
    embedded,
    listed,
    small_store,
)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Two parts of six images each, and what failed."""
    return small_store(tmp_path / "store")


def test_a_changed_file_makes_its_scores_stale(store: EncoderStore, tmp_path: Path) -> None:
    """Changed, its concept is stale and still answers as it was; the next `score` computes it anew, and that alone."""
    path = tmp_path / "night.toml"
    path.write_text('[concept.night]\npositive = ["at night"]\nnegative = ["at noon"]\n')
    session = ask(store, HashTower())
    session.score(str(path), "mask")
    old = scores_of(store, "night")
    assert states(store)["night"] == "scored"
    path.write_text('[concept.night]\npositive = ["in the dark"]\nnegative = ["at noon"]\nthreshold = 0.9\n')
    assert (states(store)["night"], states(store)["mask"]) == ("stale", "scored")
    assert scores_of(store, "night") == old
    assert session.score().parts_scored == 2
    assert states(store)["night"] == "scored"
    assert scores_of(store, "night") != old
    expected = reference(store, Ensemble("night", ("in the dark",), ("at noon",)))
    assert scores_of(store, "night") == pytest.approx(expected, abs=1e-5)
    assert session.threshold("night") == 0.9


def test_changed_weights_are_a_changed_concept(store: EncoderStore, tmp_path: Path) -> None:
    """A file of weights beside the concept file counts as part of it."""
    (tmp_path / "w.toml").write_text('[concept.w]\nweight_file = "w.npy"\n')
    np.save(tmp_path / "w.npy", np.ones(DIM))
    ask(store).score(str(tmp_path / "w.toml"))
    np.save(tmp_path / "w.npy", -np.ones(DIM))
    old = scores_of(store, "w")
    assert states(store)["w"] == "stale"
    ask(store).score("w")
    assert scores_of(store, "w") == old
    ask(store).score(str(tmp_path / "w.toml"))
    assert states(store)["w"] == "scored"
    assert scores_of(store, "w") == pytest.approx({key: 1 - score for key, score in old.items()}, abs=1e-5)


def test_a_file_that_is_gone_makes_nothing_stale(store: EncoderStore, tmp_path: Path) -> None:
    """Scores stay good where their file is not at hand; a file that cannot be understood is named as such."""
    path = tmp_path / "night.toml"
    path.write_text('[concept.night]\npositive = ["at night"]\nnegative = ["at noon"]\n')
    ask(store, HashTower()).score(str(path))
    path.write_text("[concept.night]\npositve = 5\n")
    assert states(store)["night"] == "stale (its file cannot be understood)"
    with pytest.raises(UnknownName, match=r"line 2, \[concept.night\].*positve"):
        ask(store).score()
    path.unlink()
    assert states(store)["night"] == "scored"
    assert ask(store, HashTower()).score("night").parts_scored == 0


def test_another_shipped_wording_makes_scores_stale(store: EncoderStore) -> None:
    """A shipped concept that was scored in the wording of another version is stale until the next `score`."""
    older = dataclasses.replace(shipped_ensemble("mask"), positive=("a mask",))
    run(store, older)
    assert states(store)["mask"] == "stale"
    ask(store, HashTower()).score()
    assert states(store)["mask"] == "scored"


def test_parts_without_scores_are_counted(store: EncoderStore) -> None:
    """Where scoring was broken off, or images were added since, the state says how many parts have scores."""
    assert set(states(store).values()) == {"not scored"}
    with pytest.raises(Killed):
        run(store, PEOPLE, on_part=killing(1))
    assert states(store)["people"] == "scored in 1 of 2 parts"
    run(store, PEOPLE)
    add_part(store, [embedded(listed("in/new.jpg"))], number=2)
    assert states(store) == {"people": "scored in 2 of 3 parts", "mask": "not scored", "sunglasses": "not scored"}


def test_the_listing_of_concepts(store: EncoderStore, tmp_path: Path) -> None:
    """A row for each concept: scored ones first, with unit, range, threshold and the spread of what the views show."""
    run(store, *of_every_kind(tmp_path))
    rows = {row["concept"]: row for row in ask(store).concepts().to_pylist()}
    assert [*rows][-3:] == ["mask", "people", "sunglasses"]
    kinds = {name: (row["kind"], row["unit"], row["low"], row["high"], row["threshold"]) for name, row in rows.items()}
    assert kinds["pooled"] == ("prompts, mean", "probability", 0, 1, 0.5)
    assert kinds["competing"] == ("prompts, softmax", "probability", 0, 1, 0.5)
    assert kinds["single"] == ("one prompt", "cosine", -1, 1, 0.25)
    assert kinds["probe"] == ("linear", "probability", 0, 1, 0.5)
    assert kinds["rating"] == ("linear", "score", -2, 2, 0)
    assert kinds["small"] == ("dense layers", "probability", 0, 1, 0.5)
    scores = sorted(scores_of(store, "rating").values())
    rating = rows["rating"]
    found = [rating[name] for name in ("lowest", "p05", "p50", "p95", "highest", "mean", "at_or_above")]
    above = sum(score >= 0 for score in scores) / 12
    expected = [scores[0], scores[0], scores[5], scores[11], scores[11], sum(scores) / 12, above]
    assert found == pytest.approx(expected, abs=1e-6)
    assert rows["mask"]["mean"] is None


def test_the_commands_say_unit_and_range(store: EncoderStore, tmp_path: Path) -> None:
    """What is no probability is named with its unit and range where it is scored and where it is listed."""
    (tmp_path / "w.toml").write_text(
        f'[concept.w]\nweight = [{"1.0, " * DIM}]\nlink = "identity"\nrange = [1, 10]\nunit = "rating"\n'
    )
    place = str(Path(store.location.uri).parent)
    assert typed("score", place, str(tmp_path / "w.toml")).stdout == "Scored w (rating, 1 to 10): 2 of 2 parts.\n"
    shown = typed("concepts", place).stdout
    assert "rating, 1 to 10" in shown
    assert "linear" in shown
    (row, *_) = parsed(typed("concepts", place, "--format", "json"), "json")
    assert (row["concept"], row["state"], row["low"], row["high"]) == ("w", "scored", 1, 10)
