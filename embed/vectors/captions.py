"""The captions of an import and their vectors become prompts, where both are there."""

from collections.abc import Callable, Sequence

import numpy as np

from embed.vectors.lengths import unit
from embed.vectors.prompts import NewPrompts, new_prompts
from embed.vectors.reading.arrays import Matrix, VectorFile
from embed.vectors.reading.layouts import Found
from embed.vectors.reading.metadata import MetadataFile
from embed.vectors.request import ImportRequest
from store.errors import ImportRefused
from store.layout import EncoderStore
from store.prompts import read_prompts

FEW = 100_000
"""Every question reads all prompts, so the captions of a large set are cached only where the user asks for it."""

_BLOCK_ROWS = 8_192


def captions(request: ImportRequest, found: Found, target: EncoderStore) -> NewPrompts | None:
    """Return the prompts that the captions become, or None where they are left out.

    Raise ImportRefused where a vector is not of length 1, or a text has two.
    """
    column = found.caption_column
    wanted = found.texts <= FEW if request.captions is None else request.captions
    pairs = [(pair.texts, pair.metadata) for pair in found.pairs if pair.texts is not None]
    if not pairs or not wanted or column is None:
        return None
    if any(column not in metadata.columns for _, metadata in pairs):
        raise ImportRefused(
            f"There are vectors of captions, and the metadata has no column {column!r} with their texts.",
            do="Pass --no-captions to leave them out.",
        )
    texts: list[str] = []
    vectors: list[Matrix] = []
    for file, metadata in pairs:
        _read(file, metadata, column, (texts, vectors), normalize=request.normalize)
    return new_prompts(texts, np.concatenate(vectors), read_prompts(target))


def _read(
    file: VectorFile, metadata: MetadataFile, column: str, into: tuple[list[str], list[Matrix]], *, normalize: bool
) -> None:
    """Append the captions that say something, and their vectors."""
    texts, vectors = into
    with file.opened() as read:
        for batch in metadata.batches([column], _BLOCK_ROWS):
            block = read(batch.num_rows)
            some = batch[column].to_pylist()
            kept = [k for k, text in enumerate(some) if isinstance(text, str) and text.strip()]
            texts += [some[k] for k in kept]
            vectors.append(unit(block[kept], _name_of(file, texts[-len(kept) :]), normalize=normalize))


def _name_of(file: VectorFile, texts: Sequence[str]) -> Callable[[int], str]:
    """Return what messages call the vectors of these captions."""
    return lambda row: f"The vector of the caption {texts[row]!r} ({file.name})"
