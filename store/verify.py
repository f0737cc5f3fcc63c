"""Reads a whole store and lists what is wrong with it: unreadable files, wrong columns, lengths that are not 1."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from store.errors import NotNow, StoreDamaged
from store.layout import EncoderStore
from store.parts import read_part, unit_rows
from store.schema import LISTING, MEASUREMENTS, THUMBNAILS, embedding_matrix, images_schema, prompts_schema

UNIT_TOLERANCE = 2e-3
"""Float16 has 11 significant bits, so a unit vector's length is off by at most 2**-11 = 4.9e-4 after rounding."""


@dataclass(frozen=True)
class VerifyReport:
    """What was read and what is wrong."""

    files: int
    images: int
    embeddings: int
    unreadable: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # harmless

    @property
    def sound(self) -> bool:
        """True where nothing is wrong."""
        return not self.unreadable and not self.faults

    def with_faults(self, faults: Iterable[str]) -> "VerifyReport":
        """Return the report with more faults."""
        return replace(self, faults=(*self.faults, *faults))


def verify(store: EncoderStore) -> VerifyReport:
    """Read every measured file and every score of one encoder, one part at a time."""
    dim = store.encoder.embedding_dim
    schemas = {
        "images": images_schema(dim),
        "thumbnails": THUMBNAILS,
        "listings": LISTING,
        "prompts": prompts_schema(dim),
        "measurements": MEASUREMENTS,
    }
    unreadable, faults, images, embeddings, files = [], [], 0, 0, 0
    for folder, schema in schemas.items():
        for name in store.parts(folder):
            files += 1
            try:
                table = read_part(store.location, name)
            except (StoreDamaged, NotNow) as error:
                unreadable.append(str(error))
                continue
            if _columns(table.schema) != _columns(schema):
                faults.append(f"{name}: its columns are not those of {folder} of an encoder with {dim} dimensions")
                continue
            if folder == "images":
                images += table.num_rows
                embeddings += table.num_rows - table["embedding"].null_count
                faults += _embedding_faults(name, table, "embedding", dim)
            elif folder == "prompts":
                faults += _embedding_faults(name, table, "vector", dim)
    others = ("scores", "neighbors", "crowds", "ranked", "metadata")
    for name in (name for folder in others for name in store.parts(folder)):
        files += 1
        try:
            read_part(store.location, name)
        except (StoreDamaged, NotNow) as error:
            unreadable.append(str(error))
    return VerifyReport(files, images, embeddings, tuple(unreadable), tuple(faults), tuple(_leftovers(store)))


def _columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Return names and types; whether a column may be null is no fault, and once meant less than it does now."""
    return [(field.name, field.type) for field in schema]


def _embedding_faults(name: str, table: pa.Table, column: str, dim: int) -> list[str]:
    vectors = embedding_matrix(table[column].drop_null(), dim)
    wrong = int((~unit_rows(vectors, UNIT_TOLERANCE)).sum())
    return [f"{name}: {wrong:,} vectors have not length 1"] if wrong else []


def _leftovers(store: EncoderStore) -> list[str]:
    images = {name.split("/", 1)[1] for name in store.parts("images")}
    orphans = [name for name in store.parts("thumbnails") if name.split("/", 1)[1] not in images]
    return [f"{name}: left by a job that was killed, harmless, may be removed" for name in orphans]
