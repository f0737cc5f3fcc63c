"""What scores are computed from beside the embeddings: vectors of prompts and arrays of heads, both kept in the store.

    prompts/<digest>.parquet     text vectors
    heads/<sha256>.npz           arrays of heads, named after their content

So whoever has the store can compute its scores again, and go on where images are added.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from query.scoring.heads.files import parse_head
from query.scoring.heads.known import published_layers, tower_of
from query.scoring.heads.layers import Layers, NotAHead
from query.scoring.kinds import Concept, Head
from query.scoring.readout import Readout, readout_of
from store.encoder import Encoder
from store.errors import StoreDamaged, WrongEncoder
from store.layout import EncoderStore
from store.prompts import add_prompts, read_prompts

Vector = npt.NDArray[np.float32]


class TextTower(Protocol):
    """Turns texts into vectors; handed in by the front door, since this room loads no torch."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return (N, D) float32, rows L2-normalised."""


TextTowerOf = Callable[[Encoder], TextTower]


def readouts_of(
    store: EncoderStore, concepts: Sequence[Concept], text_tower_of: TextTowerOf
) -> tuple[dict[str, Readout], int]:
    """Return what each concept's scores are computed from, by name, and how many prompts were encoded for it."""
    layers = {c.name: _layers(store, c) for c in concepts if isinstance(c, Head)}
    vectors, encoded = _vectors(store, concepts, text_tower_of)
    scale = store.encoder.logit_scale
    return {c.name: readout_of(c, vectors, scale, layers.get(c.name)) for c in concepts}, encoded


def refuse_other_encoder(concept: Concept, encoder: Encoder) -> None:
    """Raise WrongEncoder for a head that was trained on the embeddings of another encoder."""
    if not isinstance(concept, Head):
        return
    if concept.tower and concept.tower != tower_of(encoder):
        raise WrongEncoder(
            f"{concept.name} was trained on embeddings of {concept.tower}; those of this store come from "
            f"{tower_of(encoder) or encoder.encoder_id}.",
            "Another encoder's numbers mean something else, so its scores would be noise.",
        )
    if concept.dim != encoder.embedding_dim:
        raise WrongEncoder(
            f"{concept.name} takes embeddings of {concept.dim} dimensions; those of {encoder.encoder_id} have "
            f"{encoder.embedding_dim}.",
            "It was trained on another encoder.",
        )


def damaged_heads(store: EncoderStore) -> list[str]:
    """Return a sentence for every head in the store whose arrays are not those of its name."""
    names = [name for name in store.names if name.startswith("heads/")]
    broken = [name for name in names if not _held(store, name.removeprefix("heads/").removesuffix(".npz"))]
    return [f"{name}: its arrays are not those that it is named after" for name in broken]


def _layers(store: EncoderStore, head: Head) -> Layers:
    """Return the arrays of a head and see that the store has them."""
    held = _held(store, head.weights_sha256)
    layers = head.layers or held or published_layers(head)
    if layers is None:
        raise StoreDamaged(
            f"{store.location.uri}/heads/{head.weights_sha256}.npz, the weights of {head.name}, cannot be read.",
            "Images that were added since cannot be scored without them.",
            f"Run `clipsieve score STORE FILE` with the concept file that {head.name} came from"
            + (f": {head.origin}." if head.origin else "."),
        )
    if held is None:
        store.location.write(f"heads/{head.weights_sha256}.npz", layers.to_npz())
    return layers


def _held(store: EncoderStore, sha256: str) -> Layers | None:
    """Return the arrays of that content from the store; None where they are missing or damaged."""
    data = store.location.read(f"heads/{sha256}.npz")
    try:
        layers = parse_head(data or b"")
    except NotAHead:
        return None
    return layers if layers.sha256 == sha256 else None


def _vectors(
    store: EncoderStore, concepts: Sequence[Concept], text_tower_of: TextTowerOf
) -> tuple[dict[str, Vector], int]:
    """Return the vectors of all prompts, and how many had to be encoded for it."""
    wanted = {text for concept in concepts for text in concept.prompts}
    cached = read_prompts(store) if wanted else {}
    missing = sorted(wanted - cached.keys())
    if missing:
        vectors = text_tower_of(store.encoder).encode(missing)
        add_prompts(store, missing, vectors)
        cached.update(zip(missing, vectors, strict=True))
    return cached, len(missing)
