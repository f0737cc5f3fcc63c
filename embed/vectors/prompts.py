"""Text vectors that were made elsewhere, with their texts: a concept that names these needs no text tower."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.vectors.lengths import unit
from embed.vectors.reading.arrays import Matrix, open_vectors, unreadable
from embed.vectors.reading.metadata import open_metadata
from embed.vectors.request import PromptsRequest, PromptsSummary
from store.errors import ImportRefused, UnknownName, UsageError
from store.layout import Store, locate
from store.prompts import add_prompts, read_prompts

SAME_COSINE = 0.9999
"""Vectors of one text that differ by no more were made by one model, and rounded in two ways."""

TEXT_COLUMNS = ("text", "prompt", "caption", "name")


@dataclass(frozen=True)
class NewPrompts:
    """Texts that are to be cached, with their (N, D) float32 vectors; what was there already is only counted."""

    texts: tuple[str, ...]
    vectors: Matrix
    already_cached: int
    repeated: int


def import_prompts(request: PromptsRequest) -> PromptsSummary:
    """Cache the vectors of texts in the store; raise ImportRefused, with nothing written, where a check fails."""
    store = Store.open(locate(request.store, request.s3)).encoder(request.encoder)
    vectors, name = _read_vectors(Path(request.vectors).expanduser())
    texts = read_texts(Path(request.texts).expanduser(), request.column)
    if len(texts) != len(vectors):
        raise ImportRefused(
            f"{name} has {len(vectors):,} rows, and {request.texts} has {len(texts):,} texts.",
            "Row for row they must be about the same text.",
            "A text file has one text a line, and no empty lines between them.",
        )
    if vectors.shape[1] != store.encoder.embedding_dim:
        raise ImportRefused(
            f"{name} has {vectors.shape[1]} dimensions, and {store.encoder.encoder_id} has "
            f"{store.encoder.embedding_dim}.",
            "The text tower of another model made them.",
            "Give the vectors of the store's encoder, or choose another with --encoder.",
        )

    def where(row: int) -> str:
        return f"Row {row + 1:,} of {name} ({texts[row]!r})"

    new = new_prompts(texts, unit(vectors, where, normalize=request.normalize), read_prompts(store))
    add_prompts(store, new.texts, new.vectors)
    return PromptsSummary(
        encoder_id=store.encoder.encoder_id,
        caution=store.encoder.caution,
        vectors=len(vectors),
        cached=len(new.texts),
        already_cached=new.already_cached,
        repeated=new.repeated,
    )


def new_prompts(texts: Sequence[str], vectors: Matrix, cached: Mapping[str, Matrix]) -> NewPrompts:
    """Return what is not cached yet of these texts; `vectors` is (N, D) float32, rows of length 1.

    Raise ImportRefused where a text is known, or stands twice, with different vectors.
    """
    first: dict[str, int] = {}
    already = repeated = 0
    for row, text in enumerate(texts):
        if not text.strip():
            raise ImportRefused(f"Row {row + 1:,} has an empty text.", do="Take it out of both files.")
        if text in first:
            _refuse_other(text, vectors[first[text]], vectors[row], "an earlier row")
            repeated += 1
        elif text in cached:
            _refuse_other(text, cached[text], vectors[row], "the store")
            already += 1
        else:
            first[text] = row
    return NewPrompts(tuple(first), vectors[list(first.values())], already, repeated)


def read_texts(path: Path, column: str | None = None) -> list[str]:
    """Return the texts of a file: a line each, the strings of a JSON list, or a column of a table."""
    try:
        if path.suffix == ".txt":
            lines = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n").split("\n")
            return lines[:-1] if lines[-1] == "" else lines
        if path.suffix == ".json":
            values = json.loads(path.read_text(encoding="utf-8-sig"))
            if isinstance(values, list) and all(isinstance(value, str) for value in values):
                return values
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return _column(path, column)


def _column(path: Path, wanted: str | None) -> list[str]:
    table = open_metadata(path)
    columns = table.columns
    usual = next((name for name in TEXT_COLUMNS if name in columns), columns[0] if len(columns) == 1 else None)
    name = wanted or usual
    if name is None or name not in columns:
        raise UnknownName(
            f"{path.name} has no column {wanted!r}." if wanted else f"{path.name} has several columns.",
            do=f"Choose the one of the texts with --column: {', '.join(columns)}.",
        )
    values = [value for batch in table.batches([name], 65_536) for value in batch[name].to_pylist()]
    if not all(isinstance(value, str) for value in values):
        raise UsageError(f"The column {name} of {path.name} holds other things than texts.", do="Choose with --column.")
    return values


def _read_vectors(path: Path) -> tuple[Matrix, str]:
    if path.suffix != ".npy":
        raise UsageError(f"{path.name} is no .npy file.", do="Save the vectors with numpy.save, a row per text.")
    found = open_vectors(path)
    with found.opened() as read:
        return read(found.rows), found.name


def _refuse_other(text: str, known: Matrix, new: Matrix, holder: str) -> None:
    cosine = float(np.dot(known.astype(np.float64), new.astype(np.float64)))
    if cosine < SAME_COSINE:
        raise ImportRefused(
            f"{text!r} has another vector in {holder}; the cosine between the two is {cosine:.4f}.",
            "One text has one vector; two mean two models, or texts in another order than the vectors.",
            "Check that both files are in one order and that the encoder is the store's.",
        )
