"""Which pool suits which shipped concept: `python -m bench.pooling [--data FOLDER]`.

On the demonstration's scenes, whose truth is known: AUC, F1 and calibration error (ECE) at the shipped threshold, with
each pool, and AUC with half of the negatives left out (the mean over DRAWS draws): how much hangs on what they are.

On real image vectors (2,001 Unsplash photographs, CLIP ViT-B-16 of OpenAI; FOLDER has them): people asked as `person`
against the other classes of Pascal VOC. Nobody has labelled these, so what stands in for the truth is the class of
COCO, of 171, that fits best: another vocabulary with more to choose from, but made by CLIP too, so these figures say
how well a few prompts agree with many, not how right they are.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.demo_encoder import COUNT, FOLDER, Measured, measure, shipped_ensembles
from bench.machine import describe
from embed.demo.judge import ANSWERS, Flags, Floats, auc, calibration_error, f1
from query.scoring.kinds import Ensemble, Pool
from query.scoring.readout import readout_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
POOLS: tuple[Pool, Pool] = ("mean", "softmax")
DRAWS = 20
LOGIT_SCALE = 100.0  # that of OpenAI's CLIP
VOC_PERSON, COCO_PERSON = 14, 0  # rows of the text vectors

Array = npt.NDArray[np.float32]


def main() -> None:
    """Print both tables."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, default=DATA)
    words.add_argument("--count", type=int, default=COUNT)
    given, _ = words.parse_known_args()
    print(describe())
    started = time.perf_counter()
    measured = measure(FOLDER, given.count)
    print(f"{given.count} scenes drawn and embedded in {time.perf_counter() - started:.0f} s")
    _print_scenes(measured)
    if (given.data / "embeddings").is_dir():
        _print_photographs(given.data / "embeddings")
    else:
        print(f"\nNo real vectors at {given.data}: the second table is left out.")


def _print_scenes(measured: Measured) -> None:
    columns = f"{'AUC':>8}{'F1':>8}{'best F1':>9}{'at':>6}{'ECE':>8}{'half of the negatives':>25}"
    print(f"\n{'scenes':12}{'among':12}{'pool':10}{columns}")
    for name, concept in shipped_ensembles().items():
        if name not in ANSWERS:
            continue
        kinds = ["all scenes"] if name == "people" else ["faces", "all scenes"]
        for among in kinds:
            rows = measured.those(lambda truth, among=among: truth.face or among == "all scenes")  # type: ignore[misc]
            yes = measured.those(ANSWERS[name])[rows]
            for pool in POOLS:
                asked = replace(concept, pool=pool)
                scores = measured.scores(asked)[rows]
                best, at = _best_f1(scores, yes)
                thinned = [auc(measured.scores(one)[rows], yes) for one in _thinned(asked)]
                print(
                    f"{name:12}{among:12}{pool:10}{auc(scores, yes):8.4f}{f1(scores, yes, concept.threshold):8.4f}"
                    f"{best:9.4f}{at:6.2f}{calibration_error(scores, yes):8.4f}"
                    f"{np.mean(thinned):17.4f}, least {np.min(thinned):.4f}"
                )


def _best_f1(scores: Floats, yes: Flags) -> tuple[float, float]:
    """Return the best F1 of any threshold in hundredths, and that threshold."""
    return max((f1(scores, yes, at / 100), at / 100) for at in range(1, 100))


def _thinned(concept: Ensemble) -> list[Ensemble]:
    """Return the concept with half of its negatives, drawn anew each time."""
    rng = np.random.default_rng(0)
    half = len(concept.negative) // 2
    draws = [rng.choice(len(concept.negative), half, replace=False) for _ in range(DRAWS)]
    return [replace(concept, negative=tuple(concept.negative[k] for k in sorted(draw))) for draw in draws]


def _print_photographs(folder: Path) -> None:
    images = np.fromfile(folder / "unsplash_b16" / "embeddings.bin", np.float32).reshape(-1, 512)
    voc = _unit(np.load(folder / "zegclip_text_b16" / "voc12_single.npy"))
    coco = _unit(np.load(folder / "zegclip_text_b16" / "coco_single.npy"))
    likely = (images @ coco.T).argmax(axis=1) == COCO_PERSON
    vectors = {f"{k}": vector for k, vector in enumerate(voc)}
    person = Ensemble("people", (f"{VOC_PERSON}",), tuple(f"{k}" for k in range(len(voc)) if k != VOC_PERSON))
    print(f"\n{len(images):,} photographs, {likely.sum():,} of them nearest to `person` among COCO's 171 classes")
    print(f"{'people as':26}{'agreement (AUC)':>16}{'half of the negatives':>25}{'over 0.5':>10}")
    print(f"{'cosine to `person`':26}{auc(images @ voc[VOC_PERSON], likely):16.4f}")
    for pool in POOLS:
        asked = replace(person, pool=pool)
        scores = readout_of(asked, vectors, LOGIT_SCALE, None).scores(images)
        thinned = [
            auc(readout_of(one, vectors, LOGIT_SCALE, None).scores(images).astype(np.float64), likely)
            for one in _thinned(asked)
        ]
        print(
            f"{'pool ' + pool:26}{auc(scores.astype(np.float64), likely):16.4f}"
            f"{np.mean(thinned):17.4f}, least {np.min(thinned):.4f}{(scores >= 0.5).mean():10.1%}"
        )


def _unit(vectors: npt.NDArray[np.float16]) -> Array:
    rows = vectors.astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


if __name__ == "__main__":
    main()
