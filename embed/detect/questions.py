"""What a detector is asked: a label, which names the answers' column, and the text that a local detector reads."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from store.errors import UsageError
from store.rekognition import CALLS, FACE_OCCLUDED, PERSON, SUNGLASSES

TEMPLATE: Final = "a photo of a {}"
"""The words that the documentation of OWL-ViT and OWLv2 puts around a thing's name; part of a detector's identity.

https://huggingface.co/docs/transformers/model_doc/owlv2
"""

REMOTE: Final = "rekognition"
_LOCAL_WORDS: Final = {"people": "person", "mask": "face mask"}
_REMOTE_WORDS: Final = {"people": PERSON, "mask": FACE_OCCLUDED, "occlusion": FACE_OCCLUDED, "sunglasses": SUNGLASSES}


@dataclass(frozen=True)
class Question:
    """One thing to look for."""

    label: str  # `face_mask`: the answers' column is the detector's kind, an underscore and this
    text: str  # `a photo of a face mask`


def questions(kind: str, concept: str, what: Sequence[str]) -> tuple[Question, ...]:
    """Return what a detector of this kind is asked: the words of `--what`, else what the concept's name suggests.

    Raise UsageError for words that say nothing, and for questions that Rekognition does not answer.
    """
    known = _REMOTE_WORDS if kind == REMOTE else _LOCAL_WORDS
    words = [known.get(word, word) for word in what or (concept,)]
    asked = {label: Question(label, TEMPLATE.format(word.replace("_", " "))) for word in words if (label := slug(word))}
    if len(asked) < len(set(words)):
        raise UsageError(
            f"--what {', '.join(map(repr, what))} names too little, or one thing twice.",
            do="Name things, such as --what person --what 'face mask'.",
        )
    if kind == REMOTE:
        _refuse_unanswered(list(asked))
    return tuple(asked.values())


def slug(words: str) -> str:
    """Return words as the name of a column: `Face mask` is `face_mask`."""
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _refuse_unanswered(labels: Sequence[str]) -> None:
    answered = [label for labels in CALLS.values() for label in labels]
    for label in labels:
        if label not in answered:
            nearest = difflib.get_close_matches(label, answered, 1, 0)
            raise UsageError(
                f"Rekognition is not asked for {label!r} here.",
                do=f"Choose with --what from: {', '.join(answered)}." + (f" Nearest: {nearest[0]}." if nearest else ""),
            )
