"""The cache of text vectors: append-only parts, so that two jobs that add prompts at once both succeed."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from store.layout import EncoderStore
from store.parts import parquet_bytes, read_part
from store.schema import embedding_matrix, prompts_table

Vector = npt.NDArray[np.float32]


def read_prompts(store: EncoderStore) -> dict[str, Vector]:
    """Return every cached text with its (D,) float32 vector, L2-normalised."""
    cached: dict[str, Vector] = {}
    for name in store.parts("prompts"):
        table = read_part(store.location, name)
        vectors = embedding_matrix(table["vector"], store.encoder.embedding_dim)
        cached.update(zip(table["text"].to_pylist(), vectors, strict=True))
    return cached


def missing_prompts(store: EncoderStore, texts: Iterable[str]) -> list[str]:
    """Return those texts, sorted and each once, that have no cached vector."""
    return sorted(set(texts) - read_prompts(store).keys())


def add_prompts(store: EncoderStore, texts: Sequence[str], vectors: Vector) -> None:
    """Cache texts with their (N, D) vectors; the part is named after the texts, so adding twice is adding once."""
    if texts:
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
        store.location.write(f"prompts/{digest}.parquet", parquet_bytes(prompts_table(texts, vectors)))
