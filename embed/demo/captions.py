"""Captions of one or two facts in many phrasings, and captions that are nearly right: what a contrastive loss needs."""

import re
from dataclasses import dataclass

from embed.demo.drawing.canvas import Dice
from embed.demo.phrases import PHRASES, Phrase
from embed.demo.truth import Truth

_INNERMOST = re.compile(r"\{([^{}]*)\}")
_TOPICS = sorted({phrase.topic for phrase in PHRASES})
_WEIGHTS = {"people": 5.0, "who": 1.5, "place": 1.0, "subject": 2.0, "mask": 7.0, "glasses": 5.0}
_BY_TOPIC = {topic: [phrase for phrase in PHRASES if phrase.topic == topic] for topic in _TOPICS}


@dataclass(frozen=True)
class Caption:
    """A text and the facts that make it true."""

    text: str
    needs: frozenset[str]


def captions(truth: Truth, dice: Dice) -> str:
    """Return one true caption of a scene, another one each time."""
    return true_caption(truth, dice).text


def true_caption(truth: Truth, dice: Dice) -> Caption:
    """Return a caption of one fact, or of two from different topics."""
    true = {topic: _true_of(truth, topic) for topic in _TOPICS}
    topics = {topic: _WEIGHTS[topic] for topic in _TOPICS if true[topic]}
    first = dice.weighted(topics)
    caption = said(dice.pick(true[first]), dice)
    del topics[first]
    if not topics or not dice.chance(0.3):
        return caption
    second = said(dice.pick(true[dice.weighted(topics)]), dice)
    return Caption(f"{caption.text}{dice.pick((', ', ' and ', ', '))}{second.text}", caption.needs | second.needs)


def false_caption(truth: Truth, dice: Dice) -> Caption:
    """Return a caption that is not true, mostly of what the scene is easily mistaken for."""
    topic = dice.weighted({"mask": 5.0, "glasses": 4.0, "people": 1.0}) if truth.face else "people"
    false = [phrase for phrase in _BY_TOPIC[topic] if not phrase.needs <= truth.facts]
    return said(dice.pick(false), dice)


def said(phrase: Phrase, dice: Dice) -> Caption:
    """Return a phrase in one of its phrasings."""
    text = phrase.pattern
    while found := _INNERMOST.search(text):
        text = f"{text[: found.start()]}{dice.pick(found[1].split('|'))}{text[found.end() :]}"
    return Caption(" ".join(text.replace(" ,", ",").split()), phrase.needs)


def _true_of(truth: Truth, topic: str) -> list[Phrase]:
    facts = truth.facts
    return [phrase for phrase in _BY_TOPIC[topic] if phrase.needs <= facts]
