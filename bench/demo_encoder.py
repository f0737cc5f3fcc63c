"""How right the demonstration encoder is, on scenes that it was never trained on: `python -m bench demo_encoder`.

    python -m bench.demo_encoder [--encoder FOLDER] [--concepts FOLDER] [--count N] [--precision fp32] [--against bf16]

The prompts are the shipped ones. AUC of people over all scenes; of mask and sunglasses over scenes with a face, and
over all scenes. F1 and calibration at the shipped thresholds, over the same scenes as the AUC beside them.
"""

import argparse
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.machine import describe
from embed.demo.judge import ANSWERS, Flags, Floats, Holds, auc, calibration_error, f1
from embed.demo.scenes import draw
from embed.demo.truth import Truth
from embed.encoders import Towers, load_towers, parse_encoder
from query.scoring.concepts import parse_concepts, shipped_concepts
from query.scoring.kinds import Concept, Ensemble
from query.scoring.readout import readout_of

FOLDER = Path(__file__).resolve().parents[1] / "embed" / "demo" / "encoder"
COUNT = 3000
SEEDS = 5_000_000_000  # far from what training draws

UNSEEN_POSITIVE = (
    "somebody standing in the street",
    "someone walking along outside",
    "two human beings next to each other",
    "a boy, a girl or a grown-up",
    "the head and shoulders of somebody",
)
UNSEEN_NEGATIVE = (
    "a quiet street lined with houses",
    "trees, hills and the sky",
    "a house seen from outside",
    "a still life with food on a table",
    "furniture in a room and nothing else",
    "a dog or some other animal",
)


@dataclass(frozen=True)
class Measured:
    """Scenes never trained on, with their vectors and their truth."""

    vectors: Floats  # (N, D), rows L2-normalised, rounded to float16 as the store holds them
    truths: tuple[Truth, ...]
    towers: Towers

    def scores(self, concept: Ensemble) -> Floats:
        """Return (N,) scores from 0 to 1, as a store's are."""
        prompts = dict(zip(concept.prompts, self.towers.text.encode(concept.prompts), strict=True))
        return (
            readout_of(concept, prompts, self.towers.encoder.logit_scale, None).scores(self.vectors).astype(np.float64)
        )

    def those(self, holds: Holds) -> Flags:
        """Return (N,) whether something is true of each scene."""
        return np.array([holds(truth) for truth in self.truths])


def measure(folder: Path, count: int = COUNT, *, precision: str = "fp32", batch: int = 64) -> Measured:
    """Draw scenes from seeds never trained on and embed them."""
    towers = load_towers(parse_encoder(f"local-dir:{folder}"), device="cpu", precision=precision)
    vectors, truths = [], []
    for start in range(0, count, batch):
        scenes = [draw(SEEDS + index) for index in range(start, min(start + batch, count))]
        vectors.append(towers.image.encode(np.stack([towers.image.prepare(scene.image) for scene in scenes])))
        truths += [scene.truth for scene in scenes]
    return Measured(np.concatenate(vectors).astype(np.float64), tuple(truths), towers)


def without_confusable(concept: Ensemble) -> Ensemble:
    """Return a concept with the negatives that come to mind first, other pictures, and none of its look-alikes."""
    return replace(concept, negative=shipped_ensembles()["people"].negative)


def eyes_against_forehead(measured: Measured, concept: Ensemble) -> tuple[float, float]:
    """Return the AUC of sunglasses on the eyes against those on the forehead, and the share of the latter removed."""
    scores = measured.scores(concept)
    on_eyes, above = ANSWERS["sunglasses"], measured.those(lambda truth: truth.glasses == "forehead")
    both = measured.those(on_eyes) | above
    return auc(scores[both], measured.those(on_eyes)[both]), float((scores[above] >= concept.threshold).mean())


def main() -> None:
    """Print the table of the model card."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--encoder", type=Path, default=FOLDER)
    words.add_argument("--concepts", type=Path, help="a folder of concept files in place of the shipped ones")
    words.add_argument("--count", type=int, default=COUNT)
    words.add_argument("--precision", default="fp32")
    words.add_argument("--against", help="another precision: how far its scores lie, and which decisions flip")
    given, _ = words.parse_known_args()
    print(describe())
    started = time.perf_counter()
    measured = measure(given.encoder, given.count, precision=given.precision)
    print(f"{given.count} scenes drawn and embedded in {time.perf_counter() - started:.0f} s")
    concepts = _read(given.concepts) if given.concepts else shipped_ensembles()
    _print_table(measured, concepts)
    _print_kinds(measured, concepts)
    _print_unseen(measured, concepts["people"])
    _print_lesson(measured, concepts)
    if given.against:
        _print_precision(measured, measure(given.encoder, given.count, precision=given.against), concepts)


def shipped_ensembles() -> dict[str, Ensemble]:
    """Return the shipped concepts that are prompts for and against."""
    return _ensembles(shipped_concepts().values())


def _read(folder: Path) -> dict[str, Ensemble]:
    return _ensembles(c for path in sorted(folder.glob("*.toml")) for c in parse_concepts(path.read_text(), path.name))


def _ensembles(concepts: Iterable[Concept]) -> dict[str, Ensemble]:
    return {c.name: c for c in concepts if isinstance(c, Ensemble)}


def _print_table(measured: Measured, concepts: Mapping[str, Ensemble]) -> None:
    print(f"\n{'concept':12}{'among':14}{'AUC':>8}{'F1':>8}{'ECE':>8}{'threshold':>11}")
    everything, faces = measured.those(lambda _: True), measured.those(lambda truth: truth.face)
    for name, holds in ANSWERS.items():
        scores, yes = measured.scores(concepts[name]), measured.those(holds)
        for among, rows in (("all scenes", everything), *((("faces", faces),) if name != "people" else ())):
            at = concepts[name].threshold
            print(
                f"{name:12}{among:14}{auc(scores[rows], yes[rows]):8.4f}{f1(scores[rows], yes[rows], at):8.4f}"
                f"{calibration_error(scores[rows], yes[rows]):8.4f}{at:11.2f}",
            )


def _print_kinds(measured: Measured, concepts: Mapping[str, Ensemble]) -> None:
    over = {name: measured.scores(concepts[name]) >= concepts[name].threshold for name in ANSWERS}
    print(f"\n{'share over the threshold':26}" + "".join(f"{name:>12}" for name in ANSWERS))
    kinds = sorted({truth.kind for truth in measured.truths})
    rows: dict[str, Holds] = {kind: lambda truth, kind=kind: truth.kind == kind for kind in kinds}  # type: ignore[misc]
    rows |= {f"mask {m}": lambda truth, m=m: truth.face and truth.mask == m  # type: ignore[misc]
             for m in ("none", "worn", "chin", "scarf", "beard", "hand")}  # fmt: skip
    rows |= {f"glasses {g}": lambda truth, g=g: truth.face and truth.glasses == g  # type: ignore[misc]
             for g in ("none", "sunglasses", "forehead", "clear", "hand")}  # fmt: skip
    for title, holds in rows.items():
        which = measured.those(holds)
        print(f"{title:20}{which.sum():6}" + "".join(f"{over[name][which].mean():12.3f}" for name in ANSWERS))


def _print_unseen(measured: Measured, people: Ensemble) -> None:
    print("\nphrasings never trained on      AUC people   empty streets called people")
    yes, streets = measured.those(ANSWERS["people"]), measured.those(lambda truth: truth.kind == "street")
    asked = {text: replace(people, positive=(text,)) for text in UNSEEN_POSITIVE}
    asked["all of these"] = replace(people, positive=UNSEEN_POSITIVE)
    asked["these, unseen negatives"] = replace(people, positive=UNSEEN_POSITIVE, negative=UNSEEN_NEGATIVE)
    asked["shipped, unseen negatives"] = replace(people, negative=UNSEEN_NEGATIVE)
    asked["shipped"] = people
    for title, concept in asked.items():
        scores = measured.scores(concept)
        print(f"{title:38}{auc(scores, yes):8.4f}{(scores[streets] >= people.threshold).mean():12.3f}")


def _print_lesson(measured: Measured, concepts: Mapping[str, Ensemble]) -> None:
    print("\nsunglasses on the eyes against on the forehead      AUC    forehead removed")
    concept = concepts["sunglasses"]
    for title, asked in (("with", concept), ("without", without_confusable(concept))):
        area, removed = eyes_against_forehead(measured, asked)
        print(f"{title:8}the confusable negatives{area:24.4f}{removed:12.3f}")


def _print_precision(one: Measured, other: Measured, concepts: Mapping[str, Ensemble]) -> None:
    precisions = (one.towers.encoder.precision, other.towers.encoder.precision)
    print(f"\nscores in {precisions[0]} against {precisions[1]}      mean    largest    decisions that flip")
    for name in ANSWERS:
        concept = concepts[name]
        scores, others = one.scores(concept), other.scores(concept)
        apart, flips = np.abs(scores - others), (scores >= concept.threshold) != (others >= concept.threshold)
        print(f"{name:30}{apart.mean():9.4f}{apart.max():11.4f}{flips.sum():12}, {flips.mean():.2%}")


if __name__ == "__main__":
    main()
