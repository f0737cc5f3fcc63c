"""Train the demonstration encoder: `python -m embed.demo.train --out FOLDER`.

Three losses. CLIP's own, over true captions and nearly right ones, where a caption that happens to be true of another
scene of the batch counts neither for nor against it. One that asks the questions as a concept does: the mean of some
phrasings for it against the mean of some against it, at the scale that scores will be read with. And one that chooses
what a face wears, among captions and directly by a linear head that is thrown away: without it, masks are at chance for
more than a thousand steps.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embed.demo.captions import Caption, false_caption, true_caption
from embed.demo.drawing.canvas import Dice
from embed.demo.training.lots import BATCH, EXTRA_EVERY, SIDE_PX, batches, seen
from embed.demo.training.questions import CHOICES, PHRASINGS, QUESTIONS, Asked, ask
from embed.demo.truth import WITH_PEOPLE, WITHOUT_PEOPLE, Kind, Truth
from embed.encoders.torchvision_shim import import_open_clip, import_torch, quiet

if TYPE_CHECKING:
    from torch import Tensor

Model: TypeAlias = Any  # an open_clip model; open_clip ships no types

MEAN: Final = 0.5
STD: Final = 0.25
CONFIG: Final[dict[str, Any]] = {
    "model_cfg": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": SIDE_PX, "layers": [1, 1, 1, 1], "width": 12, "head_width": 32},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [MEAN] * 3, "std": [STD] * 3, "resize_mode": "squash"},
}
SEED: Final = 3
_HIDDEN: Final = -1e4  # as a logit: takes no part


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    images: int = 300_032  # half of them drawn anew, half seen before
    peak_rate: float = 2e-3
    warm_steps: int = 200
    extra: tuple[Kind, ...] = ("portrait", "far", "portrait", "street")  # learned last, so drawn more often
    scale: float = 25.0  # CLIP's logit scale, fixed: learned, it stays too low for scores to be calibrated
    question_weight: float = 2.0

    @property
    def steps(self) -> int:
        """Return the number of batches."""
        return self.images // BATCH

    def rate(self, step: int) -> float:
        """Return the share of the peak learning rate: a short rise, then a cosine down to zero."""
        return min((step + 1) / self.warm_steps, 0.5 + 0.5 * math.cos(math.pi * min(step / self.steps, 1)))


def train(folder: Path, plan: Plan) -> None:
    """Train from the fixed seed, on one core and a part of another, and write a folder for `local-dir:`."""
    torch = import_torch()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    learner = _Learner(folder, plan)
    started = time.perf_counter()
    for step, (pixels, truths) in enumerate(batches(plan.steps, SEED, plan.extra)):
        losses = learner.learn(step, pixels, truths)
        if step % 50 == 0:
            print(f"{step}/{plan.steps}  loss {losses}  {time.perf_counter() - started:.0f} s", flush=True)  # noqa: T201  # a script
        if step % 500 == 499:  # noqa: PLR2004  # so that a run that is stopped leaves something
            learner.save(folder)
    learner.save(folder)


class _Learner:
    """A model, its optimizer, and the dice that choose captions."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        torch = import_torch()
        self._model, self._tokenize = _new_model(folder)
        self._plan, self._dice = plan, Dice(f"captions {SEED}")
        matrices = [p for p in self._model.parameters() if p.ndim > 1]
        vectors = [p for p in self._model.parameters() if p.ndim <= 1]
        states = sum(len(choice.facts) for choice in CHOICES)
        self._head = torch.nn.Linear(CONFIG["model_cfg"]["embed_dim"], states)  # helps to learn, and is never saved
        matrices.append(self._head.weight)
        vectors.append(self._head.bias)
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=plan.peak_rate, betas=(0.9, 0.98))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, plan.rate)

    def learn(self, step: int, pixels: NDArray[np.uint8], truths: list[Truth]) -> str:
        """Learn from (B, 3, 64, 64) uint8; return the losses in words."""
        torch = import_torch()
        captions = [true_caption(truth, self._dice) for truth in truths]
        captions += [false_caption(truth, self._dice) for truth in truths]
        asked = [ask(question, self._dice) for question in QUESTIONS]
        chosen = [choice.said(self._dice) for choice in CHOICES]
        questions = [text for one in asked for text in (*one.positive, *one.negative)]
        texts = self._texts([*captions, *questions, *(text for one in chosen for text in one)])  # (N, D)
        values = torch.from_numpy((seen(pixels, step) - MEAN) / STD)
        images = torch.nn.functional.normalize(self._model.encode_image(values), dim=-1)  # (B, D)
        first, second = len(captions), len(captions) + len(questions)
        images = self._plan.scale * images
        contrast = _contrast(images @ texts[:first].T, _true_of(truths, captions))
        answers = _answers(images, texts[first:second], asked, truths)  # (questions,)
        rows = [index for index, truth in enumerate(truths) if truth.face]
        right = _choices_of([truths[row] for row in rows])
        choices = _choices(images[rows] @ _means(texts[second:]).T, right)  # (choices,)
        direct = _choices(self._head(images[rows]), right)  # (choices,)
        self._step(contrast + self._plan.question_weight * answers.mean() + (choices + direct).mean())
        told = {"contrast": contrast[None], "questions": answers, "choices": choices, "direct": direct}
        return "  ".join(" ".join((name, *(f"{loss:.3f}" for loss in part.tolist()))) for name, part in told.items())

    def save(self, folder: Path) -> None:
        """Write the weights in float16."""
        from safetensors.torch import save_file  # noqa: PLC0415  # comes with open_clip, which is optional

        self._model.logit_scale.data.fill_(math.log(self._plan.scale))
        state = {
            name: (values.half() if values.is_floating_point() else values).contiguous()
            for name, values in self._model.state_dict().items()
        }
        save_file(state, folder / "open_clip_model.safetensors")

    def _texts(self, captions: list[Caption]) -> "Tensor":
        tokens = self._tokenize([caption.text for caption in captions])
        vectors: Tensor = import_torch().nn.functional.normalize(self._model.encode_text(tokens), dim=-1)
        return vectors

    def _step(self, loss: "Tensor") -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        import_torch().nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()


def _contrast(logits: "Tensor", true: NDArray[np.bool_]) -> "Tensor":
    """Return CLIP's loss of (B, 2B) logits: B true captions, each image's own at its own place, and B nearly right."""
    torch = import_torch()
    count = len(logits)
    own = torch.arange(count)
    others = torch.from_numpy(true)
    others[own, own] = False
    shown = logits.masked_fill(others, _HIDDEN)
    entropy = torch.nn.functional.cross_entropy
    loss: Tensor = (entropy(shown, own) + entropy(shown[:, :count].T, own)) / 2
    return loss


def _answers(images: "Tensor", texts: "Tensor", asked: list[Asked], truths: list[Truth]) -> "Tensor":
    """Return the loss of each question, asked of the scenes that it means something for.

    A question for every scene leaves the additional portraits out: they would make people seem too likely.
    """
    torch = import_torch()
    losses, start = [], 0
    for question in asked:
        middle = start + len(question.positive)
        end = middle + len(question.negative)
        sides = [torch.nn.functional.normalize(v.mean(0), dim=-1) for v in (texts[start:middle], texts[middle:end])]
        rows = [
            index
            for index, truth in enumerate(truths)
            if (
                question.asked_of in truth.facts
                if question.asked_of
                else index % EXTRA_EVERY or truth.kind != "portrait"
            )
        ]
        yes = torch.tensor([float(question.yes in truths[i].facts) for i in rows])
        losses.append(torch.nn.functional.binary_cross_entropy_with_logits(images[rows] @ (sides[0] - sides[1]), yes))
        start = end
    stacked: Tensor = torch.stack(losses)
    return stacked


def _means(texts: "Tensor") -> "Tensor":
    """Return (F, D) from (F * PHRASINGS, D): the ensemble of each fact of the choices."""
    means = texts.reshape(-1, PHRASINGS, texts.shape[1]).mean(1)
    normalized: Tensor = import_torch().nn.functional.normalize(means, dim=-1)
    return normalized


def _choices(logits: "Tensor", right: NDArray[np.int64]) -> "Tensor":
    """Return the loss of each choice from (B, F) logits of all their facts; `right` is (choices, B)."""
    torch = import_torch()
    parts = logits.split([len(choice.facts) for choice in CHOICES], dim=1)  # type: ignore[no-untyped-call]
    losses = [torch.nn.functional.cross_entropy(*pair) for pair in zip(parts, torch.from_numpy(right), strict=True)]
    stacked: Tensor = torch.stack(losses)
    return stacked


def _choices_of(faces: list[Truth]) -> NDArray[np.int64]:
    """Return (choices, B): the place among the facts of each choice that is true of each face."""
    known = [truth.facts for truth in faces]
    return np.array([[next(i for i, fact in enumerate(c.facts) if fact in facts) for facts in known] for c in CHOICES])


def _true_of(truths: list[Truth], captions: list[Caption]) -> NDArray[np.bool_]:
    """Return (B, N): whether each caption is true of each scene."""
    facts = [truth.facts for truth in truths]
    return np.array([[caption.needs <= known for caption in captions] for known in facts])


def _new_model(folder: Path) -> tuple[Model, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    open_clip = import_open_clip()
    with quiet():
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        return model.train(), open_clip.get_tokenizer(f"local-dir:{folder}")


def main() -> None:
    """Read the command line and train."""
    words = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    words.add_argument("--out", type=Path, required=True, help="the folder to write")
    words.add_argument("--images", type=int, default=Plan.images, help="how many to learn from, repeats included")
    words.add_argument("--extra", nargs="+", choices=[*WITH_PEOPLE, *WITHOUT_PEOPLE], default=Plan.extra)
    given = words.parse_args()
    train(given.out, Plan(images=given.images, extra=tuple(given.extra)))


if __name__ == "__main__":
    main()
