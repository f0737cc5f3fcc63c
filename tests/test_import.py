"""Vectors from elsewhere become equals of embedded ones: named by their own names, once, whatever form they come in."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipsieve
from embed.vectors import check
from embed.vectors.reading.rows import place_of
from store.encoder import Encoder
from store.errors import ImportRefused, LocationError, WrongEncoder
from store.layout import Store
from store.location import FolderLocation
from store.parts import parquet_bytes, read_part
from tests.commands import typed
from tests.elsewhere import ENCODER, clip_retrieval, datacomp, held, plain, rows_of, same, take, vectors_of, write_rows
from tests.servers import S3Server
from tests.stores import DIM, SOURCE, add_part, embedded, files_of, list_source, listed, new_store, unit

# Forms


def test_clip_retrieval(tmp_path: Path) -> None:
    """clip-retrieval's folders are read partition by partition; the column url names the images, the rest is said."""
    rows = [{**row, "original_width": 900, "original_height": 600, "similarity": 0.3} for row in rows_of(9)]
    summary = take(clip_retrieval(tmp_path / "out", rows[:5], rows[5:]), tmp_path / "store")
    assert (summary.form, summary.vectors, summary.imported, summary.dtype) == ("clip-retrieval", 9, 9, "float16")
    assert summary.uri_column == "url"
    assert summary.facts == {"width_px": "original_width", "height_px": "original_height"}
    assert summary.left_out == ("height", "image_path", "similarity", "width")
    assert same(tmp_path / "store", rows)


def test_clip_retrieval_without_urls(tmp_path: Path) -> None:
    """Where image_path is the only name, it names the images, and width and height are those of that file."""
    rows = [{"image_path": f"pictures/{k}.png", "width": 256, "height": 128} for k in range(4)]
    folder = tmp_path / "out"
    write_rows(folder / "metadata_0.parquet", rows)
    np.save(folder / "img_emb_0.npy", vectors_of(rows, "image_path"))
    summary = take(folder, tmp_path / "store")
    assert (summary.uri_column, summary.facts) == ("image_path", {"width_px": "width", "height_px": "height"})
    assert same(tmp_path / "store", rows, "image_path")


def test_captions_become_prompts(tmp_path: Path) -> None:
    """The text vectors of clip-retrieval are cached with their captions, which a concept may then name."""
    rows = [{**row, "caption": text} for row, text in zip(rows_of(4), ["a cat", "a dog", "a cat", ""], strict=True)]
    summary = take(clip_retrieval(tmp_path / "out", rows[:2], rows[2:], captions=True), tmp_path / "store")
    assert (summary.captions, summary.captions_cached) == (4, 2)
    store = clipsieve.open(str(tmp_path / "store"))
    prompts = {row["text"]: row["vector"] for row in store.sql("from prompts").to_pylist()}
    assert prompts.keys() == {"a cat", "a dog"}
    assert np.allclose(prompts["a dog"], unit("a dog"), atol=1e-3)


def test_captions_are_left_out_on_request(tmp_path: Path) -> None:
    """With captions=False no text is cached, and how many there are is still said."""
    rows = [{**row, "caption": "a cat"} for row in rows_of(2)]
    summary = take(clip_retrieval(tmp_path / "out", rows, captions=True), tmp_path / "store", captions=False)
    assert (summary.captions, summary.captions_cached) == (2, 0)
    assert clipsieve.open(str(tmp_path / "store")).sql("from prompts").num_rows == 0


def test_datacomp(tmp_path: Path) -> None:
    """A folder of DataComp's shards is read with the array that is asked for, and with the texts of that array."""
    rows = [{"uid": f"{k:032x}", **row, "text": f"text {k}"} for k, row in enumerate(rows_of(7))]
    folder = datacomp(tmp_path / "shards", rows[:4], rows[4:])
    summary = take(folder, tmp_path / "store", array="l14_img")
    assert (summary.form, summary.uri_column, summary.captions_cached) == ("DataComp", "url", 7)
    assert same(tmp_path / "store", rows)
    one = take(folder / f"{0:032x}.npz", tmp_path / "one", array="l14_img", captions=False)
    assert one.imported == 4


def test_datacomp_array_follows_the_model(tmp_path: Path) -> None:
    """DataComp's array for ViT-L-14 is l14_img; where none is usual, they are listed and nothing is guessed."""
    rows = [{**row, "text": "x"} for row in rows_of(2)]
    wide = vectors_of(rows, dim=768)
    folder = datacomp(tmp_path / "shards", rows)
    np.savez(folder / f"{0:032x}.npz", b32_img=vectors_of(rows, dim=512), l14_img=wide)
    take(folder, tmp_path / "store", encoder="ViT-L-14/openai")
    found = held(tmp_path / "store")
    assert np.allclose(found[rows[1]["url"]], wide[1], atol=1e-3)
    refused = typed("import", str(folder), "--store", str(tmp_path / "s"), "--encoder", ENCODER)
    assert refused.exit_code == 2
    assert "b32_img, l14_img" in refused.stderr
    assert "--array" in refused.stderr


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl"])
def test_plain_arrays(tmp_path: Path, suffix: str) -> None:
    """A .npy is read with the Parquet, CSV, TSV, JSON or JSON lines of its name."""
    rows = [{"key": f"000{k}", "note": 'a "quoted",\nlong note'} for k in range(5)]
    take(plain(tmp_path / "in", rows, vectors_of(rows, "key"), suffix), tmp_path / "store")
    assert same(tmp_path / "store", rows, "key")


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("pack", ["save", "savez", "savez_compressed"])
def test_every_kind_of_array(tmp_path: Path, dtype: str, order: Literal["C", "F"], pack: str) -> None:
    """Floats of any size and byte order are read, row by row or column by column, packed or not."""
    rows = rows_of(5)
    write_rows(tmp_path / "in" / "v.parquet", rows)
    array = np.array(vectors_of(rows), dtype, order=order)
    if pack == "save":
        np.save(tmp_path / "in" / "v.npy", array)
    else:
        getattr(np, pack)(tmp_path / "in" / "v.npz", vectors=array)
    take(tmp_path / "in", tmp_path / "store")
    assert same(tmp_path / "store", rows)


def test_raw_floats(tmp_path: Path) -> None:
    """Raw float32 beside a JSON of another name is read with --dim, where they are the only two of their kind."""
    rows = rows_of(3)
    write_rows(tmp_path / "in" / "photo.json", rows)
    vectors_of(rows).astype("<f4").tofile(tmp_path / "in" / "embeddings.bin")
    take(tmp_path / "in", tmp_path / "store", dim=DIM)
    assert same(tmp_path / "store", rows)


def test_metadata_may_lie_elsewhere(tmp_path: Path) -> None:
    """`metadata` names the rows of a file of vectors, wherever they lie."""
    rows = rows_of(3)
    np.save(tmp_path / "vectors.npy", vectors_of(rows))
    names = write_rows(tmp_path / "other" / "names.csv", rows)
    take(tmp_path / "vectors.npy", tmp_path / "store", metadata=str(names))
    assert same(tmp_path / "store", rows)


def test_blocks_and_parts_do_not_show(tmp_path: Path) -> None:
    """However many rows a part takes, and whatever the row groups are, the images and their vectors are the same."""
    rows = rows_of(23)
    folder = clip_retrieval(tmp_path / "out", rows[:1], rows[1:20], rows[20:])
    for part_rows in (1, 4, 50_000):
        store = tmp_path / f"store{part_rows}"
        take(folder, store, part_rows=part_rows)
        assert same(store, rows)
        (encoder,) = Store.open(FolderLocation(store)).encoders()
        sizes = [read_part(encoder.location, name).num_rows for name in encoder.parts("images")]
        assert sum(sizes) == 23
        assert max(sizes) <= part_rows


# Names and facts


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://photos/in/a b.jpg", "photos", "in/a b.jpg"),
        ("https://images.example.org/a/b.jpg?w=1&h=2#x", None, "images.example.org/a/b.jpg?w=1&h=2#x"),
        ("file:///data/%C3%BC/a%20b.jpg", None, "data/ü/a b.jpg"),
        ("000000012", None, "000000012"),
        ("pictures/a.jpg", None, "pictures/a.jpg"),
    ],
)
def test_bucket_and_key(uri: str, bucket: str | None, key: str) -> None:
    """An S3 URI is taken apart; of any other name the key is what follows the scheme."""
    assert place_of(uri) == (bucket, key)


@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), unique=True, min_size=1)
)
@settings(max_examples=8)
def test_odd_names(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """A URI is kept as it is, character by character, whatever it holds."""
    folder = tmp_path_factory.mktemp("odd")
    rows = [{"uri": name} for name in names]
    take(plain(folder / "in", rows, vectors_of(rows, "uri"), ".json"), folder / "store")
    assert same(folder / "store", rows, "uri")


def test_any_column_may_name_images(tmp_path: Path) -> None:
    """`uri_column` chooses the name, also a column of numbers or categories; `uri_prefix` stands before it."""
    rows = [{"url": "same for all", "number": k, "kind": f"k{k}"} for k in range(3)]
    folder = plain(tmp_path / "in", rows, vectors_of(rows, "kind"))
    table = pa.table(
        {"url": ["same"] * 3, "number": [0, 1, 2], "kind": pa.array(["k0", "k1", "k2"]).dictionary_encode()}
    )
    pq.write_table(table, folder / "vectors.parquet")
    take(folder, tmp_path / "numbers", uri_column="number", uri_prefix="s3://photos/")
    assert held(tmp_path / "numbers").keys() == {"s3://photos/0", "s3://photos/1", "s3://photos/2"}
    keys = clipsieve.open(str(tmp_path / "numbers")).sql("select bucket, key from images order by key").to_pylist()
    assert keys[2] == {"bucket": "photos", "key": "2"}
    take(folder, tmp_path / "kinds", uri_column="kind")
    assert same(tmp_path / "kinds", [{"kind": f"k{k}"} for k in range(3)], "kind")


def test_facts_are_taken_over(tmp_path: Path) -> None:
    """Width, height, size, sha256 and etag are kept as the store keeps them; else null, and counted."""
    rows: list[dict[str, Any]] = [
        {"uri": "s3://b/0", "WIDTH": 640.0, "HEIGHT": 480.0, "size_bytes": "17", "sha256": "A" * 64, "etag": '"e0"'},
        {"uri": "s3://b/1", "WIDTH": None, "HEIGHT": -3.0, "size_bytes": "many", "sha256": "md5", "etag": None},
    ]
    summary = take(plain(tmp_path / "in", rows, vectors_of(rows, "uri")), tmp_path / "store")
    assert summary.misread == {"HEIGHT": 1, "size_bytes": 1, "sha256": 1}
    found = clipsieve.open(str(tmp_path / "store")).sql(
        "select width_px, height_px, size_bytes, sha256, etag, revision, last_modified from current_images order by uri"
    )
    first, second = found.to_pylist()
    assert first == {
        "width_px": 640,
        "height_px": 480,
        "size_bytes": 17,
        "sha256": "a" * 64,
        "etag": "e0",
        "revision": "e0",
        "last_modified": None,
    }
    assert re.fullmatch("vector-[0-9a-f]{32}", second.pop("revision"))
    assert set(second.values()) == {None}


def test_rows_that_name_an_image_again(tmp_path: Path) -> None:
    """Rows with one name and one vector are one image, and their number is said."""
    rows = [*rows_of(5), *rows_of(3)]
    summary = take(clip_retrieval(tmp_path / "out", rows[:6], rows[6:]), tmp_path / "store", part_rows=2)
    assert (summary.vectors, summary.repeated, summary.imported) == (8, 3, 5)
    assert same(tmp_path / "store", rows[:5])


@pytest.mark.parametrize("at_once", [1, 3, 4, 12])
def test_names_are_compared_with_all_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """However many names are compared at once, an image that is named again in another file is one image."""
    monkeypatch.setattr(check, "GATHERED_ROWS", at_once)
    rows = [*rows_of(6), *rows_of(6, start=3)]
    summary = take(clip_retrieval(tmp_path / "out", rows[:6], rows[6:]), tmp_path / "store", part_rows=2)
    assert (summary.repeated, summary.imported) == (3, 9)
    assert same(tmp_path / "store", rows_of(9))


def test_first_of_different_vectors(tmp_path: Path) -> None:
    """Rows with one name and different vectors are refused by name; with keep_first the first of each counts."""
    rows = [*rows_of(3), *rows_of(1)]
    vectors = vectors_of(rows)
    vectors[3] = unit("another")
    folder = plain(tmp_path / "in", rows, vectors)
    with pytest.raises(ImportRefused, match=r"https://example.org/000.jpg is named by two rows .*--keep-first"):
        take(folder, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert take(folder, tmp_path / "store", keep_first=True).repeated == 1
    assert same(tmp_path / "store", rows[:3])


# Again, and after a kill


def test_again_adds_nothing(tmp_path: Path) -> None:
    """The same import once more changes no byte of the store, also when the same values come in another type."""
    rows = rows_of(9)
    folder = plain(tmp_path / "in", rows, vectors_of(rows).astype(np.float16))
    take(folder, tmp_path / "store")
    before = files_of(tmp_path / "store")
    summary = take(folder, tmp_path / "store")
    assert (summary.imported, summary.already_done) == (0, 9)
    np.save(folder / "vectors.npy", vectors_of(rows).astype(np.float16).astype(np.float64))
    assert take(folder, tmp_path / "store").imported == 0
    assert files_of(tmp_path / "store") == before


def test_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between two parts, what is written counts, the rest is pending, and the same command does the rest."""
    rows = rows_of(20)
    folder = clip_retrieval(tmp_path / "out", rows[:7], rows[7:])
    write, written = FolderLocation.write, []

    def full_disk(self: FolderLocation, name: str, data: bytes | Path) -> None:
        if name.startswith("images/"):
            written.append(name)
            if len(written) > 2:
                raise LocationError("The disk is full.")
        write(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(FolderLocation, "write", full_disk)
        with pytest.raises(LocationError, match="The disk is full"):
            take(folder, tmp_path / "store", part_rows=4)
    status = clipsieve.open(str(tmp_path / "store")).status()
    done = int(status.sources[0]["embedded"])
    assert 0 < done < 20
    assert status.sources[0]["pending"] == 20 - done
    summary = take(folder, tmp_path / "store", part_rows=4)
    assert (summary.already_done, summary.imported) == (done, 20 - done)
    assert same(tmp_path / "store", rows)


def test_a_grown_import(tmp_path: Path) -> None:
    """What was added is imported, what is no longer there does not count any more, and both are said."""
    folder = plain(tmp_path / "in", rows_of(6))
    take(folder, tmp_path / "store")
    summary = take(plain(folder, rows_of(6, start=2)), tmp_path / "store")
    assert (summary.imported, summary.already_done, summary.dropped) == (2, 4, 2)
    assert same(tmp_path / "store", rows_of(6, start=2))


def test_changed_vector_is_another_content(tmp_path: Path) -> None:
    """A name whose vector has changed is imported anew, and its former vector does not count any more."""
    rows = rows_of(3)
    folder = plain(tmp_path / "in", rows)
    take(folder, tmp_path / "store")
    vectors = vectors_of(rows)
    vectors[1] = unit("retouched")
    summary = take(plain(folder, rows, vectors), tmp_path / "store")
    assert (summary.imported, summary.already_done, summary.dropped) == (1, 2, 0)
    assert np.allclose(held(tmp_path / "store")[rows[1]["url"]], unit("retouched"), atol=1e-3)


def test_two_sources(tmp_path: Path) -> None:
    """What comes from two paths counts together; a URI that another source lists is refused, with the way out."""
    take(plain(tmp_path / "a", rows_of(3)), tmp_path / "store")
    take(plain(tmp_path / "b", rows_of(3, start=3)), tmp_path / "store")
    assert same(tmp_path / "store", rows_of(6))
    third = plain(tmp_path / "c", rows_of(3, start=5))
    with pytest.raises(ImportRefused, match=r"1 of these URIs .* source import://.*/b/ already, .*005.jpg") as refused:
        take(third, tmp_path / "store")
    (source,) = re.findall(r"--source '(.*)'", str(refused.value))
    take(third, tmp_path / "store", source=source)
    assert same(tmp_path / "store", [*rows_of(3), *rows_of(3, start=5)])


def test_source_may_be_named(tmp_path: Path) -> None:
    """A source has the name that it is given; where that is a URI, every image must lie below it."""
    rows = [{"uri": f"s3://photos/in/{k}"} for k in range(3)]
    folder = plain(tmp_path / "in", rows, vectors_of(rows, "uri"))
    assert take(folder, tmp_path / "named", source="my photos").source == "import://my%20photos/"
    assert take(folder, tmp_path / "uri", source="s3://photos/in").source == "s3://photos/in/"
    with pytest.raises(ImportRefused, match="does not lie in the source 's3://photos/out/'"):
        take(folder, tmp_path / "wrong", source="s3://photos/out/")


# Which encoder


def test_imported_encoder_says_what_is_unknown(tmp_path: Path) -> None:
    """An imported encoder is a name, a dimension and a logit scale; the rest is unknown, and every answer says so."""
    summary = take(plain(tmp_path / "in", rows_of(2)), tmp_path / "store", logit_scale=50.0)
    encoder = clipsieve.open(str(tmp_path / "store")).encoder
    assert (encoder.model_name, encoder.pretrained, encoder.weights_origin) == ("Tiny", "elsewhere", "imported")
    assert (encoder.embedding_dim, encoder.logit_scale, encoder.precision) == (DIM, 50.0, "unknown")
    assert summary.encoder_id == encoder.encoder_id
    assert encoder.encoder_id.startswith("Tiny-elsewhere-imported-")
    assert str(summary.caution) in typed("status", str(tmp_path / "store")).stderr
    assert "made elsewhere and imported" in typed("status", str(tmp_path / "store")).stdout


def test_imported_encoders_are_told_apart_by_name() -> None:
    """Of imported vectors the name is the identity; of embedded ones it is a label."""
    one = Encoder.of_imported("ViT-B-32", "openai", 512, 100.0)
    assert one.fingerprint != Encoder.of_imported("ViT-B-32", "laion2b_s34b_b79k", 512, 100.0).fingerprint
    assert one.fingerprint != replace(one, weights_origin="pretrained").fingerprint
    assert one.fingerprint == replace(one, torch_version="9").fingerprint
    assert Encoder.from_json(one.to_json(), "x") == one


def test_tags_are_read_as_open_clip_reads_them(tmp_path: Path) -> None:
    """A tag in another case, or with other dashes, is the same one."""
    take(plain(tmp_path / "a", rows_of(2)), tmp_path / "store", encoder="Tiny/else_where")
    take(plain(tmp_path / "b", rows_of(2, start=2)), tmp_path / "store", encoder="Tiny/ELSE-where")
    assert len(held(tmp_path / "store")) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": DIM - 1}, "has the dimension 32, and these have 31"),
        ({"logit_scale": 7.0}, "logit scale 100, .* have 7"),
    ],
)
def test_same_name_other_encoder(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """Vectors do not join imported ones of their name where dimension or logit scale is another."""
    take(plain(tmp_path / "a", rows_of(2)), tmp_path / "store")
    before = files_of(tmp_path / "store")
    rows = rows_of(2, start=2)
    folder = plain(tmp_path / "b", rows, vectors_of(rows, dim=options.get("dim", DIM)))
    with pytest.raises(WrongEncoder, match=message):
        take(folder, tmp_path / "store", **options)
    assert files_of(tmp_path / "store") == before


def embedded_store(place: Path) -> Path:
    """A store of two images that were embedded by Tiny/synthetic."""
    store = new_store(place)
    images = [listed("in/a.jpg"), listed("in/b.jpg")]
    list_source(store, images)
    add_part(store, [embedded(one) for one in images])
    return place


def test_embedded_vectors_are_not_joined_silently(tmp_path: Path) -> None:
    """Beside embedded vectors of their name, imported ones are refused, kept apart, or mixed in, as the user says."""
    place = embedded_store(tmp_path / "store")
    folder = plain(tmp_path / "in", rows_of(3))
    with pytest.raises(WrongEncoder, match=r"--second-encoder .* --join"):
        take(folder, place, encoder="Tiny/synthetic")
    shutil.copytree(place, tmp_path / "joined")
    take(folder, place, encoder="Tiny/synthetic", second_encoder=True)
    assert [e.encoder.imported for e in Store.open(FolderLocation(place)).encoders()] == [False, True]
    take(folder, tmp_path / "joined", encoder="Tiny/synthetic", join=True)
    assert len(held(tmp_path / "joined")) == 5


def test_uri_of_an_embedded_source(tmp_path: Path) -> None:
    """A URI that an embedded source lists is refused under another source, and replaces its listing under its own."""
    place = embedded_store(tmp_path / "store")
    rows = [{"uri": "s3://photos/in/a.jpg"}, {"uri": "s3://photos/in/c.jpg"}]
    folder = plain(tmp_path / "in", rows, vectors_of(rows, "uri"))
    with pytest.raises(ImportRefused, match=f"listed by the source {SOURCE} already"):
        take(folder, place, encoder="Tiny/synthetic", join=True)
    take(folder, place, encoder="Tiny/synthetic", join=True, source=SOURCE)
    assert same(place, rows, "uri")


# As equals


def test_answers_are_those_of_numpy(tmp_path: Path) -> None:
    """Scores, sweeps, searches, rules and manifests of imported vectors are what numpy says of the vectors."""
    rows = rows_of(40)
    place = str(tmp_path / "store")
    take(plain(tmp_path / "in", rows), tmp_path / "store", part_rows=16)
    texts = ["a person", "a landscape", "a city"]
    np.save(tmp_path / "texts.npy", np.stack([3 * unit(text) for text in texts]))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    clipsieve.import_prompts(place, str(tmp_path / "texts.npy"), str(tmp_path / "texts.json"), normalize=True)
    concept = tmp_path / "concept.toml"
    concept.write_text(
        '[concept.somebody]\npool = "mean"\npositive = ["a person"]\nnegative = ["a landscape", "a city"]\n'
    )
    store = clipsieve.open(place)
    assert store.score(str(concept)).prompts_encoded == 0
    images = vectors_of(rows).astype(np.float16).astype(np.float32)
    against = unit("a landscape") + unit("a city")
    margin = images @ (unit("a person") - against / np.linalg.norm(against))
    scores = 1 / (1 + np.exp(-100 * margin))
    found = store.sql("select somebody from scores order by uri")["somebody"].to_numpy()
    assert np.allclose(found, scores, atol=1e-3)
    step = next(row for row in store.sweep("somebody").to_pylist() if abs(row["threshold"] - 0.5) < 1e-6)
    assert step["removed"] == int((found >= 0.5).sum()) > 0
    run = store.export(str(tmp_path / "run"), remove=["somebody >= 0.5"])
    assert (run.removed, run.listed, run.errors) == (step["removed"], 40, 0)
    nearest = store.search("a person", top=5)
    cosines = images @ unit("a person")
    assert nearest["uri"].to_pylist() == [rows[k]["url"] for k in np.argsort(-cosines)[:5]]
    assert np.allclose(nearest["cosine"].to_numpy(), np.sort(cosines)[::-1][:5], atol=1e-3)


def test_output_reads_well(tmp_path: Path) -> None:
    """The command says what it found, how images are named, what it left out, and what comes next."""
    rows = [{**row, "caption": "x"} for row in rows_of(3)]
    folder = plain(tmp_path / "in", rows)
    words = ("import", str(folder), "--store", str(tmp_path / "store"), "--encoder", ENCODER)
    told = typed(*words)
    assert told.exit_code == 0
    assert told.stdout.splitlines()[:3] == [
        "Read 3 vectors of 32 dimensions (float32, plain); images are named by the column url.",
        "Taken over: width as width_px, height as height_px.",
        "Left out, since the store has no place for them: caption.",
    ]
    assert "Imported 3 images into Tiny-elsewhere-imported-" in told.stdout
    assert "taken on trust" in told.stderr
    assert "Nothing to do: all 3 images are in Tiny-elsewhere-imported-" in typed(*words).stdout


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_store_on_s3(tmp_path: Path, s3: S3Server, bucket: str) -> None:
    """Vectors go into a store on S3 as into a folder, once."""
    folder = plain(tmp_path / "in", rows_of(5))
    place = f"s3://{bucket}/store"
    assert clipsieve.import_vectors(str(folder), place, ENCODER).imported == 5
    assert clipsieve.import_vectors(str(folder), place, ENCODER).imported == 0
    store = clipsieve.open(place)
    assert store.verify().sound
    assert store.status().sources[0]["embedded"] == 5


def test_parts_of_an_earlier_schema_are_sound(tmp_path: Path) -> None:
    """Sizes and times could once not be unknown; parts that say so are as sound as those that do not."""
    store = new_store(tmp_path)
    list_source(store, [listed("in/a.jpg")])
    name = f"images/{add_part(store, [embedded(listed('in/a.jpg'))])}.parquet"
    table = read_part(store.location, name)
    strict = pa.schema([f.with_nullable(nullable=f.name not in {"size_bytes", "last_modified"}) for f in table.schema])
    store.location.write(name, parquet_bytes(table.cast(strict)))
    assert not pq.read_schema(tmp_path / f"encoder={store.encoder.encoder_id}" / name).field("size_bytes").nullable
    assert clipsieve.open(str(tmp_path)).verify().sound
