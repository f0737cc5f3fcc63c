"""The two stages that Ray's actors run, without Ray: objects to pixels, and pixels to rows in the store."""

import pickle
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from embed import patience as patience_module
from embed.decoders import Settings
from embed.encoders.torchvision_shim import import_torch
from embed.geometry import Geometry
from embed.on_ray.stages import OBJECT, Encode, Prepare, Work
from embed.request import EmbedRequest, JobOptions
from embed.sources import open_source
from store.errors import NotNow, UsageError, WrongEncoder
from store.layout import Store, locate
from store.location import FolderLocation
from store.s3 import S3Options
from tests.embedding import all_rows, batches_in_flight, embed, shelf
from tests.tiny_encoder import IMAGE_SIZE_PX, write_tiny_encoder


@pytest.fixture
def plain(photos: Path, tiny_encoder: Path, tmp_path: Path) -> Path:
    """The store that one local job leaves of the photos."""
    embed(photos, tmp_path / "plain", tiny_encoder)
    return tmp_path / "plain"


@pytest.fixture
def work(plain: Path, photos: Path, tiny_encoder: Path, tmp_path: Path) -> Work:
    """What actors are told that embed the photos into another store, one by one."""
    encoder = shelf(plain).encoder
    Store.create(locate(str(tmp_path / "ray"), S3Options())).add_encoder(encoder)
    words = (str(photos), str(tmp_path / "ray"), f"local-dir:{tiny_encoder}")
    request = EmbedRequest(*words, device="cpu", options=JobOptions(batch_size=1, patience_s=60))
    settings = Settings(Geometry(IMAGE_SIZE_PX, IMAGE_SIZE_PX), thumbnails=True)
    return Work(request, encoder, settings, "20260101T000000Z-aaaaaa")


@pytest.fixture
def prepared(work: Work) -> pa.Table:
    """The photos as one of Ray's batches between the two stages."""
    pages = open_source(work.request.source, S3Options()).pages()
    objects = [pickle.dumps(one) for page in pages for one in page]
    with closing(Prepare(work)) as prepare:
        return prepare(pa.table({OBJECT: pa.array(objects, pa.binary())}))


def test_next_batch_leaves_before_the_last_one_is_back(
    work: Work, prepared: pa.Table, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches are with an actor's device at once, never three, none stays there; the rows are a local job's."""
    most, flying = batches_in_flight(monkeypatch)
    (done,) = Encode(work)(prepared).to_pylist()
    assert (max(most), flying) == (2, [])
    rows = all_rows(plain)
    assert all_rows(tmp_path / "ray") == rows
    assert done["embedded"] == sum(row["status"] == "embedded" for row in rows)
    assert done["not_images"] == sum(row["status"] == "not_an_image" for row in rows)
    assert sorted(done["errors"]) == sorted(row["error_code"] for row in rows if row["error_code"])


def test_store_that_is_away(
    work: Work, prepared: pa.Table, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor waits for a store that takes no part for a while, as a local job does."""
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)
    refusals = iter(range(20))
    write = FolderLocation.write

    def refuse(self: FolderLocation, name: str, data: bytes | Path) -> None:
        if name.startswith("images/") and next(refusals, None) is not None:
            raise NotNow("The store is away.")
        write(self, name, data)

    monkeypatch.setattr(FolderLocation, "write", refuse)
    Encode(work)(prepared)
    assert next(refusals, None) is None
    assert all_rows(tmp_path / "ray") == all_rows(plain)


def _where_cuda_is_missing() -> AbstractContextManager[object]:
    missing = not import_torch().cuda.is_available()
    return pytest.raises(UsageError, match="There is no device 'cuda'") if missing else nullcontext()


def test_model_lies_where_it_was_asked_for(work: Work) -> None:
    """An actor loads the model onto the device of the request, whatever number the user gave: Ray shows it one GPU."""
    with _where_cuda_is_missing():
        Encode(replace(work, request=replace(work.request, device="cuda:7")))


def test_node_with_other_weights(work: Work, tmp_path: Path) -> None:
    """A node whose weights are not the store's is refused before it embeds anything."""
    other = write_tiny_encoder(tmp_path / "other", seed=8)
    with pytest.raises(WrongEncoder, match="has another encoder than the store"):
        Encode(replace(work, request=replace(work.request, encoder=f"local-dir:{other}")))
