"""Pass 1 from end to end: every object of a source ends in exactly one outcome, once, whatever happens in between."""

import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import clipsieve
from embed import start as start_module
from embed.request import EmbedRequest, JobOptions, Started, Summary
from store.errors import SourceError, StoreDamaged, UsageError, WrongEncoder
from store.layout import Store
from store.location import FolderLocation
from store.parts import read_part
from store.shards import Shard
from tests.embedding import all_rows, command, embed, embed_command, outcomes, shelf
from tests.pictures import OUTCOMES, picture_bytes
from tests.stores import ENCODER, files_of
from tests.tiny_encoder import write_tiny_encoder


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A small source of a test's own, to change as it likes: three pictures and a note."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(picture_bytes(number))
    (folder / "note.txt").write_text("no picture")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a test's own store will be."""
    return tmp_path / "store"


# What a run leaves


def test_every_object_has_one_outcome(embedded_store: Path) -> None:
    """Every listed object stands in exactly one of: embedded, failed for the right reason, not an image."""
    assert outcomes(embedded_store) == OUTCOMES


def test_rows_say_what_was_read(embedded_store: Path, photos: Path) -> None:
    """A row holds the facts of its own file: size, pixels, format, and a unit vector exactly where it was embedded."""
    for row in all_rows(embedded_store):
        path = photos / row["key"]
        assert row["size_bytes"] == path.stat().st_size
        assert row["revision"] == f"{path.stat().st_size}-{path.stat().st_mtime_ns}"
        assert (row["embedding"] is not None) == (row["status"] == "embedded")
        if row["status"] == "embedded":
            with Image.open(path) as image:
                assert (row["width_px"], row["height_px"], row["format"]) == (*image.size, image.format)
            assert np.linalg.norm(np.asarray(row["embedding"], np.float32)) == pytest.approx(1, abs=2e-3)


def test_equal_bytes_have_equal_vectors(embedded_store: Path) -> None:
    """Copies have one sha256 and the same vector, near-duplicates a near one."""
    rows = {row["key"]: row for row in all_rows(embedded_store)}
    first = rows["cats/00.jpg"]
    for name in ("again", "once more"):
        copy = rows[f"copies/00 {name}.jpg"]
        assert copy["sha256"] == first["sha256"]
        assert np.allclose(copy["embedding"], first["embedding"], atol=1e-3)
    near = rows["copies/00 smaller.jpg"]
    assert near["sha256"] != first["sha256"]
    assert np.dot(np.float32(near["embedding"]), np.float32(first["embedding"])) > 0.95


def test_summary_adds_up(album: Path, place: Path, tiny_encoder: Path) -> None:
    """The summary counts every object once and names the encoder, the source and the run."""
    (album / "empty.jpg").touch()
    summary = embed(album, place, tiny_encoder)
    assert (summary.listed, summary.already_done, summary.embedded, summary.not_images) == (5, 0, 3, 1)
    assert (summary.errors, summary.pending, summary.stopped) == ({"empty": 1}, 0, False)
    assert summary.bytes_read == sum(path.stat().st_size for path in album.iterdir())
    assert summary.encoder_id == shelf(place).encoder.encoder_id
    assert summary.run_id == shelf(place).newest_run()
    assert summary.source == f"file://{album}/"


def test_thumbnails_are_small(embedded_store: Path) -> None:
    """Each embedded image has one thumbnail of at most 160 px a side, in its own proportions."""
    rows = {row["image_id"]: row for row in all_rows(embedded_store)}
    held = shelf(embedded_store)
    tables = [read_part(held.location, name) for name in held.parts("thumbnails")]
    small = pa.concat_tables(tables).to_pylist()
    assert sorted(t["image_id"] for t in small) == sorted(k for k, r in rows.items() if r["status"] == "embedded")
    for thumbnail in small:
        with Image.open(io.BytesIO(thumbnail["webp"])) as image:
            width, height = rows[thumbnail["image_id"]]["width_px"], rows[thumbnail["image_id"]]["height_px"]
            assert max(image.size) == min(160, max(width, height))
            assert image.width / image.height == pytest.approx(width / height, rel=0.05)


def test_no_thumbnails(album: Path, place: Path, tiny_encoder: Path) -> None:
    """With --no-thumbnails there are none, and nothing else is different."""
    assert embed_command(album, place, tiny_encoder, "--no-thumbnails", "--batch-size", "1").exit_code == 0
    assert shelf(place).parts("thumbnails") == []
    embed(album, f"{place}2", tiny_encoder)
    assert all_rows(place) == all_rows(f"{place}2")


def test_prompts_are_cached(embedded_store: Path) -> None:
    """Pass 1 caches the shipped concepts' prompts, so that scoring needs no torch."""
    report = clipsieve.open(str(embedded_store)).sql("select count(*) as n from prompts").to_pylist()
    assert report[0]["n"] > 10


# Parts


@pytest.mark.parametrize("rows", [1, 7])
def test_part_rows(photos: Path, place: Path, tiny_encoder: Path, rows: int) -> None:
    """A part holds at most --part-rows rows, and its size changes nothing of what is in the store."""
    embed(photos, place, tiny_encoder, part_rows=rows, batch_size=4)
    held = shelf(place)
    sizes = [read_part(held.location, name).num_rows for name in held.parts("images")]
    assert sum(sizes) == len(OUTCOMES)
    assert all(size == rows for size in sizes[:-1])
    assert 0 < sizes[-1] <= rows


def test_parts_are_written_when_old(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A part older than its limit is written though it is not full."""
    embed(album, place, tiny_encoder, part_age_s=0.0)
    assert len(shelf(place).parts("images")) == 4


# Going on


def test_second_run_changes_nothing(photos: Path, embedded_store: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Pass 1 twice is the same store: no file changes, none is added, and the command says that there was no work."""
    place = shutil.copytree(embedded_store, tmp_path / "copy")
    before = files_of(place)
    result = embed_command(photos, place, tiny_encoder)
    assert (result.exit_code, files_of(place)) == (0, before)
    assert result.stdout.startswith("Nothing to do: all 39 objects of file://")


def test_only_what_is_new_or_changed_is_read(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A later run reads new and changed files only; what was replaced or deleted is no longer current."""
    embed(album, place, tiny_encoder)
    (album / "0.jpg").write_bytes(picture_bytes(10))
    (album / "new.jpg").write_bytes(picture_bytes(11))
    (album / "1.jpg").unlink()
    summary = embed(album, place, tiny_encoder)
    assert (summary.listed, summary.already_done, summary.embedded) == (4, 2, 2)
    expected = {"0.jpg": "embedded", "2.jpg": "embedded", "new.jpg": "embedded", "note.txt": "not_an_image"}
    assert outcomes(place) == expected
    assert Counter(row["key"] for row in all_rows(place))["0.jpg"] == 2
    session = clipsieve.open(str(place))
    (size,) = session.sql("select size_bytes from current_images where key = '0.jpg'").to_pylist()
    assert size == {"size_bytes": len(picture_bytes(10))}


def test_file_that_came_back(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A file that is gone in one run and back in the next is current again, and is not read twice."""
    embed(album, place, tiny_encoder)
    (album / "1.jpg").rename(album.parent / "aside")
    embed(album, place, tiny_encoder)
    assert "1.jpg" not in outcomes(place)
    (album.parent / "aside").rename(album / "1.jpg")
    assert embed(album, place, tiny_encoder).embedded == 0
    assert outcomes(place)["1.jpg"] == "embedded"


def test_retry_failed(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A failed image is left alone by a plain run and read again with --retry-failed, until it is mended."""
    (album / "0.jpg").write_bytes(picture_bytes(0)[:100])
    embed(album, place, tiny_encoder)
    assert embed(album, place, tiny_encoder).errors == {}
    again = embed_command(album, place, tiny_encoder, "--retry-failed")
    assert "Failed, truncated: 1." in again.stdout
    assert "Listed 4 objects, 3 of them done before." in again.stdout
    assert outcomes(place)["0.jpg"] == "truncated"
    (album / "0.jpg").write_bytes(picture_bytes(0))
    assert embed(album, place, tiny_encoder, retry_failed=True).embedded == 1
    assert outcomes(place)["0.jpg"] == "embedded"


def test_overlapping_workers(album: Path, place: Path, tiny_encoder: Path) -> None:
    """Two jobs on one store at the same time lose nothing, and the views show each image once."""
    others: list[Summary] = []

    def start_another(_: Started) -> Callable[[], None]:
        return lambda: None if others else others.append(embed(album, place, tiny_encoder, part_rows=2))

    words = EmbedRequest(str(album), str(place), f"local-dir:{tiny_encoder}", device="cpu", precision="fp32")
    outer = start_module.run(words, on_start=start_another)
    assert (outer.embedded, [other.embedded for other in others]) == (3, [3])
    assert len(all_rows(place)) == 2 * 4
    assert len(outcomes(place)) == 4
    assert embed(album, place, tiny_encoder).already_done == 4


@pytest.mark.parametrize("shard", ["1/1", "1/2"])
def test_what_another_job_does_meanwhile(shard: str, tmp_path: Path, tiny_encoder: Path) -> None:
    """What another job has written is not begun any more: both embed what was in hand, and share the rest.

    A job with a share of its own looks for nobody, as all others leave that share alone.
    """
    album, place, count = tmp_path / "album", tmp_path / "store", 60
    album.mkdir()
    for number in range(count):
        (album / f"{number:02}.jpg").write_bytes(picture_bytes(number))
    others: list[Summary] = []

    def start_another(_: Started) -> Callable[[], None]:
        return lambda: None if others else others.append(embed(album, place, tiny_encoder, part_rows=7))

    options = JobOptions(batch_size=2, part_rows=2, shard=Shard.parse(shard))
    encoder = f"local-dir:{tiny_encoder}"
    words = EmbedRequest(str(album), str(place), encoder, device="cpu", precision="fp32", options=options)
    outer = start_module.run(words, on_start=start_another)
    assert [other.embedded for other in others] == [count]
    rows = all_rows(place)
    assert len(rows) == count + outer.embedded
    assert len(outcomes(place)) == count
    assert outer.pending == 0
    if shard == "1/1":
        in_flight = max(4 * 2, 2 * ((os.cpu_count() or 1) + 2))
        assert 0 < outer.embedded <= 2 * in_flight, "what was begun, and the part that was being written"
        assert outer.already_done == count - outer.embedded
    else:
        assert outer.already_done == 0


def test_two_sources_in_one_store(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A store may hold several sources; each keeps what it listed last."""
    shutil.copytree(album, album.parent / "album 2")
    embed(album, place, tiny_encoder)
    embed(album.parent / "album 2", place, tiny_encoder)
    (album / "2.jpg").unlink()
    embed(album, place, tiny_encoder)
    found = clipsieve.open(str(place)).sql("select source, count(*) as n from current_images group by 1 order by n")
    assert found["n"].to_pylist() == [3, 4]


def test_newest_look_decides_where_sources_overlap(album: Path, place: Path, tiny_encoder: Path) -> None:
    """What the newest look at a place saw is current, also where an older look had seen the very same."""
    (album / "deep").mkdir()
    (album / "deep" / "a.jpg").write_bytes(picture_bytes(5))
    embed(album, place, tiny_encoder)
    (album / "deep" / "b.jpg").write_bytes(picture_bytes(6))
    embed(album / "deep", place, tiny_encoder)
    (album / "deep" / "b.jpg").unlink()
    embed(album, place, tiny_encoder)
    found = clipsieve.open(str(place)).sql("select uri from current_images where uri like '%/deep/%'")
    assert found["uri"].to_pylist() == [f"file://{album}/deep/a.jpg"]


# Encoders


def test_precision_of_the_store_is_adopted(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A job whose precision is left open goes on in the store's; another one is refused unless asked for by name."""
    embed(album, place, tiny_encoder)
    held = shelf(place)
    other = held.encoder.__class__(**{**vars(held.encoder), "precision": "bf16"})
    pretender = place.parent / "bf16"
    Store.create(FolderLocation(pretender)).add_encoder(other)
    with pytest.raises(WrongEncoder, match=r"precision: bf16 -> fp32.*--second-encoder"):
        embed(album, pretender, tiny_encoder)
    assert embed(album, place, tiny_encoder, precision="auto").already_done == 4
    assert embed(album, pretender, tiny_encoder, second_encoder=True).embedded == 3
    assert len(Store.open(FolderLocation(pretender)).encoders()) == 2


def test_another_model_is_another_encoder(album: Path, place: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Other weights are refused unless asked for, then a second encoder beside the first; no question mixes them."""
    embed(album, place, tiny_encoder)
    other = write_tiny_encoder(tmp_path / "other", seed=8)
    with pytest.raises(WrongEncoder, match=r"holds tiny-.*, and not other-.*embed every image again.*--second-encoder"):
        embed(album, place, other)
    assert len(Store.open(FolderLocation(place)).encoders()) == 1
    assert embed(album, place, other, second_encoder=True).embedded == 3
    assert embed(album, place, other).already_done == 4
    with pytest.raises(WrongEncoder, match="2 encoders, whose vectors must not be mixed"):
        clipsieve.open(str(place))
    assert clipsieve.open(str(place), "local-dir:elsewhere/tiny").sql("select 1 from images").num_rows == 4


@pytest.mark.parametrize("held", [{}, {"weights_origin": "pretrained", "embedding_dim": 512}])
def test_another_model_is_refused_before_its_weights_come(
    album: Path, place: Path, monkeypatch: pytest.MonkeyPatch, held: dict[str, Any]
) -> None:
    """Published weights that the store cannot hold, by their size or their name, are not downloaded to be refused."""
    monkeypatch.setattr("embed.start.load_towers", None)
    Store.create(FolderLocation(place)).add_encoder(replace(ENCODER, **held))
    with pytest.raises(WrongEncoder, match=r"and not ViT-B-32/openai\."):
        clipsieve.embed(str(album), store=str(place), encoder="ViT-B-32/openai")


def test_random_weights_are_flagged(
    album: Path, place: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal with random weights says so while it runs, in the store and in its status."""
    import json

    from embed.encoders.torchvision_shim import import_open_clip
    from tests.tiny_encoder import MODEL_CONFIG

    factory = import_open_clip().factory
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny-drawn", json.loads(json.dumps(MODEL_CONFIG)))
    words = ("--device", "cpu", "--precision", "fp32", "--random-weights")
    result = command("embed", album, "--store", place, "--encoder", "tiny-drawn", *words)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Random weights: no score means anything.") == 1
    assert shelf(place).encoder.random_weights
    status = command("status", place)
    assert "RANDOM WEIGHTS" in status.output
    refused = command("embed", album, "--store", place, "--encoder", "tiny-drawn")
    assert (refused.exit_code, "--random-weights" in refused.stderr) == (2, True)


# Refusals


@pytest.mark.parametrize("made", ["missing", "empty"])
def test_source_without_objects(tmp_path: Path, place: Path, tiny_encoder: Path, made: str) -> None:
    """A source that is not there, or holds nothing, is one sentence and exit code 1; nothing is recorded."""
    source = tmp_path / "nothing"
    if made == "empty":
        source.mkdir()
    result = embed_command(source, place, tiny_encoder)
    assert result.exit_code == 1
    assert re.search("does not exist" if made == "missing" else "holds no objects", result.stderr)
    assert len(result.stderr.rstrip().splitlines()) <= 2  # the encoder's line and the sentence
    assert not place.exists() or (shelf(place).parts("images") == shelf(place).parts("listings") == [])


def test_store_inside_the_source(album: Path, tiny_encoder: Path) -> None:
    """A store inside its source is wrong use, and nothing is created there."""
    result = embed_command(album, album / "store", tiny_encoder)
    assert (result.exit_code, "lies inside the source" in result.stderr) == (2, True)
    assert len(list(album.iterdir())) == 4
    with pytest.raises(UsageError):
        embed(album, album, tiny_encoder)


def test_source_that_vanishes(album: Path, place: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that is refused half-way ends the job by name; what was embedded until then is kept."""
    from embed.sources.folder import FolderSource

    whole = FolderSource.pages

    def half(self: FolderSource):  # type: ignore[no-untyped-def]  # noqa: ANN202
        yield next(iter(whole(self)))[:2]
        raise SourceError("The disk went away.")

    monkeypatch.setattr(FolderSource, "pages", half)
    with pytest.raises(SourceError, match="The disk went away"):
        embed(album, place, tiny_encoder)
    assert shelf(place).parts("listings") == []
    monkeypatch.undo()
    embed(album, place, tiny_encoder)
    assert len(outcomes(place)) == 4


def test_damaged_listing(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A job on a store with a damaged listing ends in one sentence that says what to remove."""
    embed(album, place, tiny_encoder)
    (listing,) = shelf(place).parts("listings")
    path = Path(shelf(place).location.uri) / listing
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreDamaged, match=f"{listing} cannot be read .*the source is listed anew"):
        embed(album, place, tiny_encoder)


def test_damaged_part(album: Path, place: Path, tiny_encoder: Path) -> None:
    """A job on a store with a damaged part ends in one sentence; without the part it reads those images again."""
    embed(album, place, tiny_encoder)
    (part,) = shelf(place).parts("images")
    path = Path(shelf(place).location.uri) / part
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreDamaged, match="Remove it and run the same"):
        embed(album, place, tiny_encoder)
    path.unlink()
    assert embed(album, place, tiny_encoder).embedded == 3
