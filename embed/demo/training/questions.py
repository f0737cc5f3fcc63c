"""The questions of the demonstration, asked as a concept asks them: some phrasings for it against some against it."""

from dataclasses import dataclass
from typing import Final, get_args

from embed.demo.captions import Caption, said
from embed.demo.drawing.canvas import Dice
from embed.demo.phrases import PHRASES, Phrase
from embed.demo.truth import Glasses, Mask

PHRASINGS: Final = 2  # of each fact of a choice


@dataclass(frozen=True)
class Question:
    """One question, in the phrasings of the training captions."""

    positive: tuple[Phrase, ...]
    negative: tuple[Phrase, ...]
    yes: str  # the fact that decides
    asked_of: str = ""  # the fact that a scene needs for the question to mean something; empty: every scene


@dataclass(frozen=True)
class Asked:
    """A question in the words of this time."""

    positive: tuple[Caption, ...]
    negative: tuple[Caption, ...]
    yes: str
    asked_of: str  # empty where one of the negatives says that nobody is there: then every scene has an answer


@dataclass(frozen=True)
class Choice:
    """What a face wears, as one of several captions: learned much sooner than yes or no."""

    facts: tuple[str, ...]  # exactly one of them is true of a face

    def said(self, dice: Dice) -> tuple[Caption, ...]:
        """Return PHRASINGS captions of each fact, one fact after the other."""
        topic = self.facts[0].partition(":")[0]
        return tuple(said(dice.pick(_needing(topic, fact)), dice) for fact in self.facts for _ in range(PHRASINGS))


def ask(question: Question, dice: Dice) -> Asked:
    """Return a question in phrasings chosen anew; what needs a face is half the time asked of every scene."""
    positive = tuple(said(dice.pick(question.positive), dice) for _ in range(5))
    negative = [said(dice.pick(question.negative), dice) for _ in range(6)]
    everywhere = bool(question.asked_of) and dice.chance(0.5)
    if everywhere:
        negative[0] = said(dice.pick(_NOBODY), dice)
    return Asked(positive, tuple(negative), question.yes, "" if everywhere else question.asked_of)


def _needing(topic: str, *needs: str) -> tuple[Phrase, ...]:
    return tuple(phrase for phrase in PHRASES if phrase.topic == topic and phrase.needs & set(needs))


def _of_a_face(topic: str, yes: str) -> Question:
    others = tuple(phrase for phrase in PHRASES if phrase.topic == topic and yes not in phrase.needs)
    return Question(_needing(topic, yes), others, yes, "face")


CHOICES: Final = (
    Choice(tuple(f"mask:{state}" for state in get_args(Mask))),
    Choice(tuple(f"glasses:{state}" for state in get_args(Glasses))),
)
_NOBODY = _needing("people", "nobody")
QUESTIONS: Final = (
    Question((*_needing("people", "people"), *_needing("who", "man", "woman", "child")), _NOBODY, "people"),
    _of_a_face("mask", "mask:worn"),
    _of_a_face("glasses", "glasses:sunglasses"),
)
