"""`verify` reads everything and names what is wrong; whatever was done to a file, it never fails itself."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import StoreDamaged
from store.layout import EncoderStore
from store.parts import parquet_bytes, read_part, write_images
from store.prompts import add_prompts
from store.verify import verify
from tests.stores import embedded, listed, new_store, small_store, unit

FOLDERS = ("images", "thumbnails", "listings", "prompts")


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """A small store with every kind of measured file."""
    held = small_store(tmp_path)
    add_prompts(held, ["a face"], unit("a face")[None])
    return held.refreshed()


@pytest.mark.parametrize("folder", FOLDERS)
def test_cut_off_file(store: EncoderStore, folder: str) -> None:
    """A file that lost its end is unreadable, and the report says what to do about it."""
    name = store.parts(folder)[0]
    data = store.location.read(name)
    assert data is not None
    store.location.write(name, data[: len(data) // 2])
    report = verify(store)
    assert not report.sound
    assert len(report.unreadable) == 1
    assert name in report.unreadable[0]
    assert "Remove it" in report.unreadable[0]


@pytest.mark.parametrize("folder", FOLDERS)
def test_foreign_columns(store: EncoderStore, folder: str) -> None:
    """A readable file with other columns than its folder's is a fault."""
    name = store.parts(folder)[0]
    store.location.write(name, parquet_bytes(pa.table({"x": [1]})))
    report = verify(store)
    assert [fault.partition(":")[0] for fault in report.faults] == [name]
    assert f"not those of {folder} of an encoder with 32 dimensions" in report.faults[0]


def test_vectors_of_another_length(store: EncoderStore) -> None:
    """Vectors that are no unit vectors, or no numbers at all, are counted by file."""
    rows = [embedded(listed(f"in/wrong{k}.jpg")) for k in range(3)]
    wrong = [np.full(32, np.nan, np.float16), unit("x").astype(np.float16) * np.float16(1.01)]
    write_images(store, "x", "x", [rows[0], *(replace(r, embedding=v) for r, v in zip(rows[1:], wrong, strict=True))])
    add_prompts(store, ["doubled"], 2 * unit("doubled")[None])
    faults = verify(store.refreshed()).faults
    assert faults[0] == "images/x.parquet: 2 vectors have not length 1"
    assert len(faults) == 2
    assert faults[1].startswith("prompts/")


def test_thumbnails_of_a_killed_job(store: EncoderStore) -> None:
    """Thumbnails whose images were never recorded are a note, no fault."""
    name = store.parts("images")[0]
    store.location.remove(name)
    report = verify(store.refreshed())
    assert report.sound
    assert len(report.notes) == 1
    assert report.notes[0].startswith(name.replace("images", "thumbnails") + ": left by a job that was killed")


def test_empty_store(tmp_path: Path) -> None:
    """A store whose first job has not written anything yet is sound."""
    report = verify(new_store(tmp_path))
    assert report.sound
    assert (report.files, report.images) == (0, 0)


@given(folder=st.sampled_from(FOLDERS), place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
@settings(max_examples=60)
def test_any_changed_byte(damaged_store: EncoderStore, folder: str, place: float, value: int) -> None:
    """A file with any byte changed is read, or refused as damaged; nothing else is ever raised."""
    store = damaged_store
    name = store.parts(folder)[0]
    whole = store.location.read(name)
    assert whole is not None
    changed = bytearray(whole)
    changed[int(place * len(whole))] ^= value
    try:
        store.location.write(name, bytes(changed))
        with contextlib.suppress(StoreDamaged):
            read_part(store.location, name)
        report = verify(store)
        assert report.files == 6
        assert all(name in found for found in (*report.unreadable, *report.faults))
    finally:
        store.location.write(name, whole)


@pytest.fixture(scope="module")
def damaged_store(tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
    """A store whose files are changed and mended again."""
    held = small_store(tmp_path_factory.mktemp("damaged"))
    add_prompts(held, ["a face"], unit("a face")[None])
    return held.refreshed()
