"""Vectors as other tools leave them: clip-retrieval, DataComp, plain arrays; small, and the same every time."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import clipsieve
from embed.vectors.request import ImportSummary
from tests.stores import DIM, unit

ENCODER = "Tiny/elsewhere"

Rows = Sequence[Mapping[str, Any]]


def rows_of(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Metadata as a web data set has it."""
    return [
        {"url": f"https://example.org/{k:03}.jpg", "width": 10 + k, "height": 20} for k in range(start, start + count)
    ]


def vectors_of(rows: Rows, column: str = "url", dim: int = DIM) -> npt.NDArray[np.float32]:
    """(N, D) float32 unit rows, each from its own name."""
    return np.stack([unit(str(row[column]), dim) for row in rows])


def write_rows(path: Path, rows: Rows) -> Path:
    """Write metadata in the form that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=3)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def plain(folder: Path, rows: Rows, vectors: npt.NDArray[Any] | None = None, suffix: str = ".parquet") -> Path:
    """`vectors.npy` beside `vectors.parquet`, or metadata of another form."""
    write_rows(folder / f"vectors{suffix}", rows)
    np.save(folder / "vectors.npy", vectors_of(rows) if vectors is None else vectors)
    return folder


def clip_retrieval(folder: Path, *partitions: Rows, captions: bool = False) -> Path:
    """What `clip-retrieval inference` writes: float16, one set of files per partition."""
    for name in ("img_emb", "text_emb") if captions else ("img_emb",):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for k, rows in enumerate(partitions):
        named = [{"image_path": f"{k:05}{i:04}", **row} for i, row in enumerate(rows)]
        np.save(folder / "img_emb" / f"img_emb_{k}.npy", vectors_of(rows).astype(np.float16))
        if captions:
            np.save(folder / "text_emb" / f"text_emb_{k}.npy", vectors_of(rows, "caption").astype(np.float16))
        write_rows(folder / "metadata" / f"metadata_{k}.parquet", named)
    return folder


def datacomp(folder: Path, *shards: Rows) -> Path:
    """DataComp's shards: four arrays in an .npz, the metadata beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, rows in enumerate(shards):
        images = vectors_of(rows)
        texts = vectors_of(rows, "text")
        half = [array.astype(np.float16) for array in (-images, -texts, images, texts)]
        np.savez(folder / f"{k:032x}.npz", b32_img=half[0], b32_txt=half[1], l14_img=half[2], l14_txt=half[3])
        write_rows(folder / f"{k:032x}.parquet", rows)
    return folder


def take(path: Path, store: Path, **options: Any) -> ImportSummary:
    """Import what lies at `path`."""
    return clipsieve.import_vectors(str(path), str(store), options.pop("encoder", ENCODER), **options)


def held(store: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The vector of every image that counts, by URI; fails where the store is not sound."""
    with_store = clipsieve.open(str(store))
    assert with_store.verify().sound, with_store.verify()
    found = with_store.sql("select uri, embedding from current_images where status = 'embedded'").to_pylist()
    assert len({row["uri"] for row in found}) == len(found)
    return {row["uri"]: np.array(row["embedding"], np.float32) for row in found}


def same(store: Path, rows: Rows, column: str = "url") -> bool:
    """Whether the store holds exactly the images of these rows, each with its own vector."""
    found = held(store)
    expected = {str(row[column]): unit(str(row[column])) for row in rows}
    return found.keys() == expected.keys() and all(
        np.allclose(found[uri], vector, atol=1e-3) for uri, vector in expected.items()
    )
