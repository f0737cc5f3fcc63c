"""The demonstration encoder understands drawn scenes that it has never seen, with the shipped concepts as they are."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.demo_encoder import (
    FOLDER,
    SEEDS,
    UNSEEN_POSITIVE,
    Measured,
    eyes_against_forehead,
    measure,
    shipped_ensembles,
    without_confusable,
)
from embed.demo.judge import ANSWERS, auc, calibration_error, f1
from embed.demo.scenes import SEEDS_OF_FILES
from embed.demo.train import CONFIG, Plan

CONCEPTS = shipped_ensembles()
SCENES = 600  # a fifth of what the model card measures, so the limits here leave room for chance


@pytest.fixture(scope="module")
def measured() -> Measured:
    """A few hundred scenes never trained on, embedded in float32."""
    return measure(FOLDER, SCENES)


def test_it_is_small_and_says_what_it_is() -> None:
    """The folder fits into a wheel, was built by the script's config, and its card warns of photographs."""
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 6_000_000
    assert json.loads((FOLDER / "open_clip_config.json").read_text(encoding="utf-8")) == CONFIG
    assert "no use on photographs" in (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_it_was_trained_on_none_of_these() -> None:
    """The seeds that are measured, and those of drawn files, lie beyond what training draws."""
    assert Plan().images < SEEDS < SEEDS_OF_FILES


@pytest.mark.parametrize("name", list(ANSWERS))
def test_shipped_concepts_are_answered(measured: Measured, name: str) -> None:
    """People over all scenes, mask and sunglasses over faces: ranked, decided and calibrated well."""
    asked = measured.those(lambda truth: truth.face or name == "people")
    scores, yes = measured.scores(CONCEPTS[name])[asked], measured.those(ANSWERS[name])[asked]
    assert auc(scores, yes) >= 0.98
    assert f1(scores, yes, CONCEPTS[name].threshold) >= 0.92
    assert calibration_error(scores, yes) <= 0.06


def test_the_confusable_negatives_decide_the_forehead(measured: Measured) -> None:
    """With them, sunglasses on the forehead are told from those on the eyes; without them they are removed too."""
    concept = CONCEPTS["sunglasses"]
    told, removed = eyes_against_forehead(measured, concept)
    _, removed_without = eyes_against_forehead(measured, without_confusable(concept))
    assert told >= 0.97
    assert removed <= 0.05
    assert removed_without >= removed + 0.1


def test_phrasings_never_trained_on_are_understood(measured: Measured) -> None:
    """People described in sentences that no caption held are found."""
    yes = measured.those(ANSWERS["people"])
    scores = measured.scores(replace(CONCEPTS["people"], positive=UNSEEN_POSITIVE))
    assert auc(scores, yes) >= 0.95


def test_the_figures_are_computed_right() -> None:
    """AUC counts ties half, F1 is harmonic, and a calibrated score has no calibration error."""
    yes = np.array([True, True, False, False])
    scores = np.array([0.9, 0.5, 0.5, 0.1])
    assert auc(scores, yes) == pytest.approx(3.5 / 4)
    assert f1(scores, yes, 0.5) == pytest.approx(2 * 2 / (3 + 2))
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
