"""Which encoder of a store vectors from elsewhere join: an imported one of their name, another only on the user's word.

Nobody can check which weights, precision and preprocessing made them. So they never join vectors whose encoder is known
by its fingerprint unless the user says that they are the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.encoder import Encoder
from store.errors import ImportRefused, UsageError, WrongEncoder
from store.layout import EncoderStore, Store, planned
from store.location import Location

LOGIT_SCALE = 100.0
"""CLIP's scale is clipped at 100, and its published models lie at that limit: https://arxiv.org/abs/2103.00020, 2.5."""

DIMENSIONS = {
    "RN50": 1024, "RN101": 512, "RN50x4": 640, "RN50x16": 768, "RN50x64": 1024,
    "ViT-B-32": 512, "ViT-B-16": 512, "ViT-L-14": 768, "ViT-L-14-336": 768,
    "ViT-H-14": 1024, "ViT-g-14": 1024, "ViT-bigG-14": 1280,
}  # fmt: skip
"""D of the usual models, so that a wrong name is noticed:
https://github.com/mlfoundations/open_clip/tree/main/src/open_clip/model_configs"""


@dataclass(frozen=True)
class Named:
    """The encoder that the words of `--encoder` name, and what the user says of it."""

    model_name: str
    pretrained: str
    logit_scale: float | None = None  # None: LOGIT_SCALE, or what the store has
    join: bool = False  # mix the vectors with embedded ones of that name
    second_encoder: bool = False  # keep them apart from embedded ones of that name

    @property
    def words(self) -> str:
        """Return the name as messages say it."""
        return f"{self.model_name}/{self.pretrained}"

    @property
    def usual_dim(self) -> int | None:
        """Return D where the model is a usual one."""
        return DIMENSIONS.get(self.model_name.removesuffix("-quickgelu"))

    def names(self, encoder: Encoder) -> bool:
        """Tell whether an encoder has this name; open_clip reads tags in any case, with - or _."""
        return _folded(self.model_name, self.pretrained) == _folded(encoder.model_name, encoder.pretrained)


def parse_words(words: str) -> tuple[str, str]:
    """Return model and weights of MODEL/PRETRAINED or hf-hub:org/name; raise UsageError for anything else."""
    scheme, _, rest = words.partition(":")
    if scheme == "hf-hub" and "/" in rest:
        return rest, scheme
    model_name, _, pretrained = words.partition("/")
    if not model_name or not pretrained or ":" in model_name:
        raise UsageError(
            f"{words!r} names no encoder.",
            "Vectors can only be compared with those of the same model and weights.",
            "Write MODEL/PRETRAINED as open_clip names them, for example ViT-B-16/openai, or hf-hub:org/name.",
        )
    return model_name, Path(pretrained).name


def choose(location: Location, named: Named, dim: int) -> EncoderStore:
    """Return the encoder's part of the store at `location` that vectors of dimension D join; nothing is written.

    Raise WrongEncoder where the store's vectors of that name are others, ImportRefused where no such model makes D.
    """
    if named.usual_dim not in {None, dim}:
        raise ImportRefused(
            f"The vectors have {dim} dimensions, and {named.model_name} makes {named.usual_dim}.",
            "Another model made them.",
            "Name that one with --encoder (of an .npz, choose the array with --array).",
        )
    held = [] if location.read("store.json") is None else Store.open(location).encoders()
    same = [one for one in held if named.names(one.encoder)]
    imported = [one for one in same if one.encoder.imported]
    embedded = [one for one in same if not one.encoder.imported]
    if embedded and named.join:
        return _only(embedded, named, dim)
    if embedded and not imported and not named.second_encoder:
        raise _not_the_same(embedded[0].encoder, named)
    if imported:
        return _only(imported, named, dim)
    scale = LOGIT_SCALE if named.logit_scale is None else named.logit_scale
    return planned(location, Encoder.of_imported(named.model_name, named.pretrained, dim, scale))


def _only(found: Sequence[EncoderStore], named: Named, dim: int) -> EncoderStore:
    if len(found) > 1:
        raise WrongEncoder(
            f"The store holds several encoders named {named.words}: "
            f"{', '.join(one.encoder.encoder_id for one in found)}.",
            "Which of them made these vectors cannot be told.",
            "Import into a store of its own.",
        )
    encoder = found[0].encoder
    for what, ours, theirs in (
        ("dimension", encoder.embedding_dim, dim),
        ("logit scale", encoder.logit_scale, named.logit_scale),
    ):
        if theirs not in {None, ours}:
            raise WrongEncoder(
                f"The store's {encoder.encoder_id} has the {what} {ours:g}, and these have {theirs:g}.",
                "Their scores could not be compared.",
                "Check --encoder and --logit-scale, or import into a store of its own.",
            )
    return found[0]


def _not_the_same(held: Encoder, named: Named) -> WrongEncoder:
    return WrongEncoder(
        f"The store holds {held.encoder_id}, whose weights, precision and preprocessing are known; of vectors imported "
        f"as {named.words} they are not.",
        "Mixed silently, two ways of making them would look like differences between images.",
        "Pass --second-encoder to keep them apart, or --join if you know that they were made in the same way.",
    )


def _folded(model_name: str, pretrained: str) -> tuple[str, str]:
    return model_name, re.sub("-", "_", pretrained.lower())
