"""Small stores built straight through `store`, with synthetic vectors: no image is decoded and no torch is loaded."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from query.scoring.kinds import Concept, Ensemble
from query.scoring.score_sets import image_parts, set_of, write_set
from query.session import Session
from store.encoder import Encoder
from store.errors import MissingExtra
from store.layout import EncoderStore, Store
from store.listings import ListingWriter
from store.location import FolderLocation
from store.parts import parquet_bytes, read_part, write_images
from store.records import EMBEDDED, NOT_AN_IMAGE, ErrorCode, ImageFacts, SourceObject, failed
from store.schema import ImageRow, scores_schema

DIM = 32
SOURCE = "s3://photos/in/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

ENCODER = Encoder(
    model_name="Tiny",
    pretrained="synthetic",
    weights_origin="pretrained",
    torch_version="0",
    pillow_version="0",
    architecture_sha256="a" * 64,
    weights_sha256="b" * 64,
    embedding_dim=DIM,
    logit_scale=100.0,
    precision="fp32",
    preprocessing={"size": 32},
    decode_mode="test",
    open_clip_version="3.3.0",
)

PEOPLE = Ensemble("people", ("a person", "people"), ("a landscape", "an empty room"), threshold=0.5)
MASK = Ensemble("mask", ("a worn mask",), ("a bare face",), threshold=0.7)


def unit(words: str, dim: int = DIM) -> npt.NDArray[np.float32]:
    """The same `(dim,)` float32 unit vector for the same words, near a common direction as CLIP's vectors are."""
    seed = int.from_bytes(hashlib.sha256(words.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(dim) * 0.1
    vector[0] += 1.0
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


class HashTower:
    """Stands where the text tower does: unit vectors from a hash of the text; remembers what it was asked."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.asked: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, D) float32, rows L2-normalised."""
        self.asked.append(list(texts))
        return np.stack([unit(text) for text in texts])

    def of(self, _encoder: Encoder) -> "HashTower":
        """Itself, whatever the encoder."""
        return self


def no_tower(_encoder: Encoder) -> HashTower:
    """What is there where torch is not installed."""
    raise MissingExtra("Some prompts have no vector.", do="pip install 'clipsieve[embed]'")


def run_id(number: int) -> str:
    """The id of the run that started `number` minutes after noon."""
    return f"{NOON + timedelta(minutes=number):%Y%m%dT%H%M%SZ}-{number:06x}"


def listed(key: str, *, etag: str = "e1", size_bytes: int = 1000, source: str = SOURCE) -> SourceObject:
    """An object as the listing of `source` shows it; `key` is what follows `s3://photos/`, `in/…` below SOURCE."""
    return SourceObject(
        source=source,
        uri=f"s3://photos/{key}",
        bucket="photos",
        key=key,
        etag=etag,
        revision=etag,
        size_bytes=size_bytes,
        last_modified=NOON,
    )


def embedded(one: SourceObject, *, width_px: int = 640, minute: int = 0, words: str | None = None) -> ImageRow:
    """The row of an image that was embedded; its vector is `unit` of its key, or of `words`."""
    return ImageRow(
        source_object=one,
        outcome=EMBEDDED,
        embedded_at=NOON + timedelta(minutes=minute),
        facts=ImageFacts(width_px, 480, "JPEG", "RGB", None),
        sha256=hashlib.sha256(one.uri.encode()).hexdigest(),
        embedding=unit(words or one.key).astype(np.float16),
        thumbnail=b"webp of " + one.key.encode(),
    )


def broken(one: SourceObject, *, code: ErrorCode = ErrorCode.TRUNCATED, minute: int = 0) -> ImageRow:
    """The row of an image that failed."""
    return ImageRow(one, failed(code, "the file ends early"), NOON + timedelta(minutes=minute))


def no_image(one: SourceObject) -> ImageRow:
    """The row of an object that is no image."""
    return ImageRow(one, NOT_AN_IMAGE, NOON)


def new_store(folder: Path, encoder: Encoder = ENCODER) -> EncoderStore:
    """An empty store."""
    return Store.create(FolderLocation(folder)).add_encoder(encoder)


def list_source(store: EncoderStore, objects: Sequence[SourceObject], number: int = 1, source: str = SOURCE) -> None:
    """Record that run `number` found exactly these objects in `source`."""
    with ListingWriter(store, source, run_id(number)) as listing:
        if objects:
            listing.add(objects)
        listing.finish()


def add_part(store: EncoderStore, rows: Sequence[ImageRow], number: int = 1, part: int = 0) -> str:
    """Write the part of run `number` with these rows; return its name."""
    name = f"{run_id(number)}.{part:05}"
    write_images(store, name, run_id(number), rows)
    return name


def small_store(folder: Path, keys: Sequence[str] = (), *, pending: Sequence[str] = ()) -> EncoderStore:
    """A store of one run: two parts of embedded images, a failed image, a text file, and what no run has read yet."""
    store = new_store(folder)
    images = [listed(f"in/{key}") for key in keys or [f"{k:02}.jpg" for k in range(12)]]
    others = [listed("in/broken.jpg", size_bytes=7), listed("in/readme.txt")]
    list_source(store, [*images, *others, *(listed(f"in/{key}") for key in pending)])
    half = len(images) // 2
    add_part(store, [embedded(one) for one in images[:half]])
    add_part(store, [*(embedded(one) for one in images[half:]), broken(others[0]), no_image(others[1])], part=1)
    return store.refreshed()


def put_scores(
    store: EncoderStore,
    scores: Mapping[str, Mapping[str, float]],
    default: float = 0.0,
    kinds: Sequence[Concept] = (),
) -> EncoderStore:
    """Write a score set by hand: `scores["people"]["in/00.jpg"]`; keys that are not named get `default`.

    A concept that is not in `kinds` is PEOPLE or an ensemble.
    """
    store = store.refreshed()
    known = {concept.name: concept for concept in (PEOPLE, *kinds)}
    target = set_of([known.get(name) or Ensemble(name, ("yes",), ("no",)) for name in scores])
    write_set(store, target)
    for part in image_parts(store):
        rows = read_part(store.location, f"images/{part}.parquet", ["image_id", "run_id", "uri", "key", "status"])
        rows = rows.filter(pa.compute.equal(rows["status"], "embedded")).drop_columns(["status"])
        keys = rows["key"].to_pylist()
        table = rows.drop_columns(["key"])
        for name in target.names:
            values = [scores[name].get(key, default) for key in keys]
            table = table.append_column(name, pa.array(values, pa.float32()))
        store.location.write(target.file(part), parquet_bytes(table.cast(scores_schema(target.names))))
    return store.refreshed()


def stepped_store(folder: Path) -> EncoderStore:
    """A small store whose twelve images score 0, 1/12, 2/12, … as people."""
    return put_scores(small_store(folder), {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)}})


def removed_keys(place: str | Path, name: str = "removed.csv") -> set[str]:
    """The keys in one manifest of a run, without the prefix `in/`."""
    return {row["key"].removeprefix("in/") for row in read_csv(Path(place, name))}


def only_run(place: str | Path) -> Path:
    """The folder of the only run in a place."""
    (run,) = Path(place).iterdir()
    return run


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest, as any CSV reader sees them."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def ask(store: EncoderStore, tower: HashTower | None = None) -> Session:
    """A session over this encoder of a store."""
    from store.s3 import S3Options

    return Session(store, tower.of if tower else no_tower, S3Options())


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
