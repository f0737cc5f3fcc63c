"""A store says what it holds and refuses what it cannot trust: identity, layout, parts, prompts, errors."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import errors
from store.encoder import Encoder
from store.errors import ClipsieveError, StoreDamaged, StoreNotFound, StoreTooNew, UnknownName, WrongEncoder
from store.layout import FORMAT_VERSION, EncoderStore, Store, locate, new_run_id
from store.location import FolderLocation
from store.parts import read_part, write_images
from store.prompts import add_prompts, missing_prompts, read_prompts
from store.records import EMBEDDED, NOT_AN_IMAGE, ErrorCode, ImageFacts, SourceObject, failed
from store.s3 import S3Options
from store.schema import ImageRow, images_schema, images_table
from store.verify import verify
from tests.stores import (
    DIM,
    ENCODER,
    add_part,
    broken,
    embedded,
    files_of,
    listed,
    new_store,
    small_store,
    unit,
)

IDENTITY: dict[str, Any] = {
    "architecture_sha256": "c" * 64,
    "weights_sha256": "c" * 64,
    "embedding_dim": DIM + 1,
    "logit_scale": 99.9999,
    "precision": "bf16",
    "preprocessing": {"size": 33},
    "decode_mode": "test-2",
    "open_clip_version": "3.3.1",
}
LABELS: dict[str, Any] = {
    "model_name": "Other",
    "pretrained": "other",
    "weights_origin": "checkpoint",
    "torch_version": "1",
    "pillow_version": "1",
}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds it
objects = st.builds(
    SourceObject,
    source=texts,
    uri=texts,
    bucket=st.none() | texts,
    key=texts,
    etag=st.none() | texts,
    revision=texts,
    size_bytes=st.integers(0, 2**63 - 1),
    last_modified=times,
)
sides = st.integers(1, 2**31)
facts = st.builds(ImageFacts, sides, sides, texts, texts, exif_orientation=st.none() | st.integers(1, 8))
vectors = st.integers(0, 2**32).map(lambda seed: unit(str(seed)).astype(np.float16))
image_rows = st.one_of(
    st.builds(
        ImageRow,
        objects,
        st.just(EMBEDDED),
        times,
        facts,
        st.none() | texts,
        texts,
        st.none() | texts,
        vectors,
        st.none() | st.binary(),
    ),
    st.builds(
        ImageRow,
        objects,
        st.just(NOT_AN_IMAGE) | st.builds(failed, st.sampled_from(ErrorCode), texts),
        times,
        st.none() | facts,
        st.none() | texts,
        st.none() | texts,
    ),
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
    """A store that examples of a property write over."""
    return new_store(tmp_path_factory.mktemp("scratch"))


# Identity


def test_every_field_is_identity_or_label() -> None:
    """Every field of an encoder's record is either identity or a label."""
    assert {f.name for f in fields(Encoder)} == IDENTITY.keys() | LABELS.keys()


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_decides_the_fingerprint(name: str) -> None:
    """Two encoders that differ in any identity field have different fingerprints, and the difference is named."""
    other = replace(ENCODER, **{name: IDENTITY[name]})
    assert other.fingerprint != ENCODER.fingerprint
    assert [difference.partition(":")[0] for difference in ENCODER.differences(other)] == [name]


def test_labels_do_not_matter() -> None:
    """An encoder under another label has the same fingerprint and finds the same vectors."""
    other = replace(ENCODER, **LABELS)
    assert other.fingerprint == ENCODER.fingerprint
    assert ENCODER.differences(other) == []


def test_equal_fingerprints_share_one_folder(tmp_path: Path) -> None:
    """A store never holds one encoder twice, whatever its weights are called."""
    first = new_store(tmp_path)
    again = new_store(tmp_path, replace(ENCODER, **LABELS))
    assert again.location.uri == first.location.uri
    assert again.encoder == ENCODER
    assert len(Store.open(FolderLocation(tmp_path)).encoders()) == 1


@given(
    names=st.tuples(texts, texts, texts),
    dim=st.integers(1, 4096),
    scale=st.floats(0, 1000),
    preprocessing=st.dictionaries(texts, st.none() | texts | st.integers() | st.lists(st.floats(-9, 9))),
)
def test_encoder_record_is_read_as_written(
    names: tuple[str, str, str], dim: int, scale: float, preprocessing: dict[str, object]
) -> None:
    """encoder.json gives back the encoder, and its folder's name is plain whatever the weights are called."""
    encoder = replace(
        ENCODER,
        model_name=names[0],
        pretrained=names[1],
        decode_mode=names[2],
        embedding_dim=dim,
        logit_scale=scale,
        preprocessing=preprocessing,
    )
    assert Encoder.from_json(encoder.to_json(), "here") == encoder
    assert re.fullmatch(r"[A-Za-z0-9_.-]{13,93}", encoder.encoder_id)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not an encoder record"),
        (b"[]", "is not an encoder record"),
        (b"\xff{", "is not an encoder record"),
        (b"{}", "is not an encoder record"),
        (ENCODER.to_json().replace(b'"fp32"', b'"fp16"'), "was changed by hand"),
    ],
)
def test_damaged_encoder_record(data: bytes, said: str) -> None:
    """An encoder record that is unreadable, or is not the one that made the vectors, is refused by name."""
    with pytest.raises(StoreDamaged, match=f"^here {said}"):
        Encoder.from_json(data, "here")


# Layout


def test_no_store(tmp_path: Path) -> None:
    """A place without a store is named, with the command that makes one; nothing is created there."""
    with pytest.raises(StoreNotFound, match=re.escape(f"no clipsieve store at {tmp_path / 'no'}")):
        Store.open(locate(str(tmp_path / "no"), S3Options()))
    with pytest.raises(StoreNotFound, match="holds no embeddings yet"):
        Store.create(FolderLocation(tmp_path)).encoder()
    assert [path.name for path in tmp_path.iterdir()] == ["store.json"]


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"format_version": "new"}', '{"format_version": null}'])
def test_damaged_store_record(tmp_path: Path, record: str) -> None:
    """A store.json that says nothing is refused, by `create` as well, and is left as it was."""
    (tmp_path / "store.json").write_text(record)
    for opened in (Store.open, Store.create):
        with pytest.raises(StoreDamaged, match=r"store\.json is not a store's record"):
            opened(FolderLocation(tmp_path))
    assert (tmp_path / "store.json").read_text() == record


def test_store_of_a_later_version(tmp_path: Path) -> None:
    """A store of a later format is refused with the way to upgrade."""
    (tmp_path / "store.json").write_text(json.dumps({"format_version": FORMAT_VERSION + 1}))
    with pytest.raises(StoreTooNew, match=r"has format 2; this clipsieve reads .*pip install -U"):
        Store.create(FolderLocation(tmp_path))


def test_two_encoders_side_by_side(tmp_path: Path) -> None:
    """A store with two encoders gives neither unasked; an id, the start of one or the words of `--encoder` choose."""
    first = new_store(tmp_path).encoder
    second = new_store(tmp_path, replace(ENCODER, pretrained="other", weights_sha256="d" * 64)).encoder
    store = Store.open(FolderLocation(tmp_path))
    with pytest.raises(WrongEncoder, match=f"2 encoders.*{first.encoder_id}"):
        store.encoder()
    for words in (first.encoder_id, "Tiny/synthetic", "Tiny-synth", "Tiny//some/where/synthetic"):
        assert store.encoder(words).encoder == first
    assert store.encoder("Tiny/other").encoder == second
    with pytest.raises(UnknownName, match="More than one encoder"):
        store.encoder("Tiny")
    with pytest.raises(UnknownName, match="No encoder of the store"):
        store.encoder("Tinny/synthetic")


def test_words_mean_whole_names(tmp_path: Path) -> None:
    """The words of an encoder choose it also where another encoder's name begins with the same letters."""
    plain = new_store(tmp_path, replace(ENCODER, model_name="run", pretrained="open_clip_model.safetensors")).encoder
    longer = replace(plain, model_name="run2", weights_sha256="e" * 64)
    new_store(tmp_path, longer)
    store = Store.open(FolderLocation(tmp_path))
    assert store.encoder("local-dir:/models/run").encoder == plain
    assert store.encoder("local-dir:/models/run2").encoder == longer


def test_words_of_a_long_name(tmp_path: Path) -> None:
    """The words find an encoder whose name is longer than its folder's may be."""
    name = "checkpoint-" + "of-a-long-training-" * 8 + ".pt"
    held = new_store(tmp_path, replace(ENCODER, pretrained=name))
    assert Store.open(FolderLocation(tmp_path)).encoder(f"Tiny//models/{name}").encoder == held.encoder


def test_encoder_folder_of_a_job_killed_at_once(tmp_path: Path) -> None:
    """A job killed between making an encoder's folder and writing its record keeps nobody from going on."""
    store = Store.create(FolderLocation(tmp_path))
    folder = tmp_path / f"encoder={ENCODER.encoder_id}"
    folder.mkdir()
    (folder / ".encoder.json.0badf00d.tmp").write_bytes(b"half of a rec")
    assert store.encoders() == []
    assert store.add_encoder(ENCODER).encoder == ENCODER
    assert [held.encoder for held in store.encoders()] == [ENCODER]


def test_encoder_folder_that_lost_its_record(tmp_path: Path) -> None:
    """Vectors without a record of their encoder are an error that names the folder."""
    held = small_store(tmp_path)
    held.location.remove("encoder.json")
    with pytest.raises(StoreDamaged, match=r"has no encoder\.json"):
        Store.open(FolderLocation(tmp_path)).encoders()


def test_run_ids_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new run's id sorts after the run before it, even where the clock has jumped back."""
    future = f"{datetime.now(UTC) + timedelta(days=400):%Y%m%dT%H%M%SZ}-ffffff"
    assert new_run_id() < future < new_run_id(future)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", new_run_id(future))


def test_jobs_that_start_at_once(tmp_path: Path) -> None:
    """Many jobs that make one store at the same moment all end up with the same store and encoder."""

    def start(_: int) -> str:
        return Store.create(FolderLocation(tmp_path / "s")).add_encoder(ENCODER).location.uri

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(40)))) == 1
    assert len(files_of(tmp_path)) == 2


# Parts


@given(rows=st.lists(image_rows, max_size=8))
@settings(max_examples=40)
def test_what_is_written_is_read(scratch: EncoderStore, rows: list[ImageRow]) -> None:
    """Every value of every row comes back as it was written, embedding bit by bit, embedded rows first."""
    write_images(scratch, "part", "a run", rows)
    table = read_part(scratch.location, "images/part.parquet")
    ordered = sorted(rows, key=lambda row: row.embedding is None)
    assert table.schema == images_schema(DIM)
    assert table.equals(images_table(ordered, "a run", DIM))
    for found, row in zip(table.to_pylist(), ordered, strict=True):
        one = row.source_object
        assert found["image_id"] == one.image_id
        assert {name: found[name] for name in asdict(one)} == asdict(one)
        assert row.facts is None or {name: found[name] for name in asdict(row.facts)} == asdict(row.facts)
        assert (found["status"], found["error_code"]) == (row.outcome.status, row.outcome.error_code)
        assert (found["version_id"], found["sha256"]) == (row.version_id, row.sha256)
        assert (found["run_id"], found["embedded_at"]) == ("a run", row.embedded_at)
        if row.embedding is None:
            assert found["embedding"] is None
        else:
            assert np.array_equal(found["embedding"], row.embedding)


@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=20))
@settings(max_examples=25)
def test_image_id_is_the_documented_sql(pairs: list[tuple[str, str]]) -> None:
    """An image's id equals the documented SQL expression over its URI and revision."""
    ids = [replace(listed("x"), uri=uri, revision=revision).image_id for uri, revision in pairs]
    wanted = pa.table({"uri": [uri for uri, _ in pairs], "revision": [revision for _, revision in pairs]})
    with duckdb.connect() as connection:
        connection.register("wanted", wanted)
        query = "select sha256(uri || chr(10) || revision)[1:32]::uuid from wanted"
        assert [found for (found,) in connection.execute(query).fetchall()] == ids


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    """Writing the same rows twice gives the same file to the last byte."""
    rows = [embedded(listed("in/a.jpg")), broken(listed("in/b.jpg"))]
    for name in ("one", "two"):
        add_part(new_store(tmp_path / name), rows)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


# Prompts


@given(wanted=st.lists(st.lists(texts, max_size=4), max_size=4))
@settings(max_examples=25)
def test_prompts_are_cached_once(tmp_path_factory: pytest.TempPathFactory, wanted: list[list[str]]) -> None:
    """Whatever is asked in whatever order, each text gets one vector, and it comes back bit by bit."""
    store = new_store(tmp_path_factory.mktemp("prompts"))
    for some in wanted:
        missing = missing_prompts(store.refreshed(), some)
        if missing:
            add_prompts(store, missing, np.stack([unit(text) for text in missing]))
        assert missing_prompts(store.refreshed(), some) == []
    cached = read_prompts(store.refreshed())
    assert cached.keys() == {text for some in wanted for text in some}
    assert all(np.array_equal(vector, unit(text)) for text, vector in cached.items())


# Errors


def test_error_tree_is_documented() -> None:
    """The tree in the module's docstring names every error under its parent, and only those."""
    tree: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"( *)([A-Z]\w+)  ", line):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            tree[found[2]] = above[depth - 1] if depth else "Exception"
    classes = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ClipsieveError)
    }
    assert tree == {name: kind.__base__.__name__ for name, kind in classes.items() if kind.__base__}
    assert {name for name, kind in classes.items() if kind.exit_code == 2} == {
        "UsageError",
        "UnknownName",
        "MissingExtra",
    }


def test_verify_of_a_sound_store(tmp_path: Path) -> None:
    """A sound store is counted and has no faults."""
    report = verify(small_store(tmp_path))
    assert report.sound
    assert (report.files, report.images, report.embeddings, report.notes) == (5, 14, 12, ())
