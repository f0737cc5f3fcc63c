"""An import that fails a check says what is wrong, where, and what to do; the store is as it was before."""

import pickle
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embed.vectors.lengths import TOLERANCE, unit
from embed.vectors.reading.arrays import open_vectors
from embed.vectors.target import DIMENSIONS
from store.errors import ClipsieveError, ImportRefused, UnknownName, UsageError
from tests.commands import one_line, typed
from tests.elsewhere import ENCODER, clip_retrieval, plain, rows_of, take, vectors_of, write_rows
from tests.stores import DIM, files_of

ROWS = rows_of(6)


def refused(path: Path, kind: type[ClipsieveError], **options: object) -> str:
    """The message of an import that is refused; fails where it leaves anything behind."""
    store = path.parent / "store"
    with pytest.raises(kind) as error:
        take(path, store, **options)
    assert not store.exists()
    return str(error.value)


def spoil(row: int, value: float) -> Callable[[np.ndarray], None]:
    """Put a value into a row."""

    def do(vectors: np.ndarray) -> None:
        vectors[row, 3] = value

    return do


def scale(row: slice, factor: float) -> Callable[[np.ndarray], None]:
    """Make rows longer or shorter."""

    def do(vectors: np.ndarray) -> None:
        vectors[row] *= factor

    return do


# Values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(4, np.nan), "Row 5 of vectors.npy (vectors.parquet) holds values that are not finite, as do 0 more"),
        (spoil(0, np.inf), "Row 1 of vectors.npy (vectors.parquet) holds values that are not finite"),
        (scale(slice(None), 11.5), "has length 11.5, not 1; lengths near it lie between 11.5 and 11.5"),
        (scale(slice(2, 3), 1.1), "Row 3 of vectors.npy (vectors.parquet) has length 1.1, not 1"),
        (scale(slice(2, 3), 0.0), "Row 3 of vectors.npy (vectors.parquet) has length 0, not 1"),
    ],
)
def test_vectors_that_are_none(tmp_path: Path, change: Callable[[np.ndarray], None], message: str) -> None:
    """A vector that is not finite, or not of length 1, is refused with its row and how far off it is."""
    vectors = vectors_of(ROWS)
    change(vectors)
    assert message in refused(plain(tmp_path / "in", ROWS, vectors), ImportRefused)


def test_a_fault_in_the_last_file_writes_nothing(tmp_path: Path) -> None:
    """Everything is checked before anything is written: a fault in the last row of the last file leaves no store."""
    folder = clip_retrieval(tmp_path / "in", ROWS[:3], ROWS[3:])
    vectors = vectors_of(ROWS[3:])
    vectors[-1, 0] = np.nan
    np.save(folder / "img_emb" / "img_emb_1.npy", vectors)
    assert "Row 3 of img_emb_1.npy (metadata_1.parquet)" in refused(folder, ImportRefused)


def test_a_refused_import_leaves_a_store_as_it_was(tmp_path: Path) -> None:
    """A store that is there already does not change by a byte."""
    take(plain(tmp_path / "good", ROWS), tmp_path / "store")
    before = files_of(tmp_path / "store")
    rows = rows_of(4, start=6)
    with pytest.raises(ImportRefused):
        take(plain(tmp_path / "bad", rows, 2 * vectors_of(rows)), tmp_path / "store")
    assert files_of(tmp_path / "store") == before


def test_normalize(tmp_path: Path) -> None:
    """With normalize any length is taken but none: a row of zeros has no direction."""
    vectors = 20 * vectors_of(ROWS)
    assert take(plain(tmp_path / "in", ROWS, vectors), tmp_path / "s", normalize=True).imported == len(ROWS)
    vectors[5] = 0
    message = refused(plain(tmp_path / "in", ROWS, vectors), ImportRefused, normalize=True)
    assert "Row 6 of vectors.npy (vectors.parquet) is a vector of zeros" in message


@pytest.mark.parametrize("bits", [8, 11])
def test_rounded_vectors_are_unit_vectors(bits: int) -> None:
    """Vectors that were rounded to bfloat16 or float16 still have length 1 within the tolerance."""
    vectors = vectors_of(rows_of(200), dim=512)
    steps = 2.0 ** (np.floor(np.log2(np.abs(vectors))) - bits + 1)
    rounded = (np.round(vectors / steps) * steps).astype(np.float32)
    lengths = np.linalg.norm(unit(rounded, str, normalize=False), axis=1)
    assert np.allclose(lengths, 1, atol=1e-6)
    assert np.abs(np.linalg.norm(rounded, axis=1) - 1).max() < TOLERANCE / 2


# Files


def test_counts_that_differ(tmp_path: Path) -> None:
    """As many vectors as rows, or neither is imported."""
    message = refused(plain(tmp_path / "in", ROWS, vectors_of(ROWS)[:5]), ImportRefused)
    assert "vectors.npy has 5 rows of 32 float32, and vectors.parquet has 6" in message


def test_dimensions_that_differ(tmp_path: Path) -> None:
    """All files of one import have one dimension."""
    folder = clip_retrieval(tmp_path / "in", ROWS[:3], ROWS[3:])
    np.save(folder / "img_emb" / "img_emb_1.npy", vectors_of(ROWS[3:], dim=DIM + 1))
    assert "img_emb_1.npy has 33 dimensions, and img_emb_0.npy has 32" in refused(folder, ImportRefused)


def test_dimension_of_another_model(tmp_path: Path) -> None:
    """A usual model's dimension is known, so a wrong name is noticed."""
    message = refused(plain(tmp_path / "in", ROWS), ImportRefused, encoder="ViT-L-14-quickgelu/openai")
    assert "The vectors have 32 dimensions, and ViT-L-14-quickgelu makes 768" in message


def test_dimensions_are_open_clips() -> None:
    """The dimensions of usual models are those of open_clip's own configurations."""
    if find_spec("open_clip") is None:
        pytest.skip("this test asks open_clip, which comes with the embed extra")
    from embed.encoders.torchvision_shim import import_open_clip

    open_clip = import_open_clip()
    assert {name: open_clip.get_model_config(name)["embed_dim"] for name in DIMENSIONS} == DIMENSIONS


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1, None]], object), "Python objects (a pickle, which could run code)"),
        (np.ones((6, 4), np.int8), "holds int8, not floats"),
        (np.ones((6, 4), np.complex64), "holds complex64, not floats"),
        (np.ones((6, 4), "V2"), "not floats"),
        (np.ones(6, np.float32), "has the shape (6,)"),
        (np.ones((6, 2, 4), np.float32), "has the shape (6, 2, 4)"),
        (np.ones((6, 0), np.float32), "has the shape (6, 0)"),
    ],
    ids=["objects", "int8", "complex", "bytes", "one row", "three axes", "no columns"],
)
def test_arrays_that_are_no_vectors(tmp_path: Path, array: np.ndarray, message: str) -> None:
    """Only a matrix of floats is taken; nothing pickled is ever loaded."""
    assert message in refused(plain(tmp_path / "in", ROWS, array), ImportRefused)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    """A bare pickle under the name of an array is refused, and its code is not run."""
    folder = plain(tmp_path / "in", ROWS)
    witness = tmp_path / "run"

    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(witness), "w")

    (folder / "vectors.npy").write_bytes(pickle.dumps(Harm()))
    assert "vectors.npy cannot be read" in refused(folder, ImportRefused)
    assert not witness.exists()


@pytest.mark.parametrize("keep", [0, 5, 40, 100, 500])
def test_npy_that_was_cut_off(tmp_path: Path, keep: int) -> None:
    """An array whose end is missing is refused before a row is read."""
    folder = plain(tmp_path / "in", ROWS)
    file = folder / "vectors.npy"
    file.write_bytes(file.read_bytes()[:keep])
    message = refused(folder, ImportRefused)
    assert "cut off" in message
    assert "vectors.npy" in message


@pytest.mark.parametrize("pack", ["savez", "savez_compressed"])
@pytest.mark.parametrize("keep", [0.1, 0.6, 0.98])
def test_npz_that_was_cut_off(tmp_path: Path, pack: str, keep: float) -> None:
    """An archive whose end is missing is refused."""
    file = tmp_path / "in" / "v.npz"
    write_rows(tmp_path / "in" / "v.parquet", ROWS)
    getattr(np, pack)(file, v=vectors_of(ROWS))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    assert "v.npz cannot be read" in refused(tmp_path / "in", ImportRefused)


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_with_a_changed_byte(tmp_path: Path, order: str) -> None:
    """An archive whose checksum does not fit what was read is refused."""
    file = tmp_path / "in" / "v.npz"
    write_rows(tmp_path / "in" / "v.parquet", ROWS)
    np.savez(file, v=np.array(vectors_of(ROWS), order="F" if order == "F" else "C"))
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        data[archive.getinfo("v.npy").header_offset + 400] ^= 1
    file.write_bytes(data)
    assert "v.npz cannot be read" in refused(tmp_path / "in", ImportRefused)


def test_raw_floats_of_another_dimension(tmp_path: Path) -> None:
    """Raw floats need their dimension, and a size that is a multiple of it."""
    write_rows(tmp_path / "in" / "v.csv", ROWS)
    vectors_of(ROWS).tofile(tmp_path / "in" / "v.bin")
    assert "--dim" in refused(tmp_path / "in", UsageError)
    assert "no whole number of rows of 33 float32" in refused(tmp_path / "in", ImportRefused, dim=33)


def test_nothing_to_import(tmp_path: Path) -> None:
    """No path, no vectors, no rows, no partner: each has its own sentence."""
    assert "There is nothing at" in refused(tmp_path / "in", UsageError)
    (tmp_path / "in").mkdir()
    assert "holds no vectors that are known here" in refused(tmp_path / "in", UsageError)
    np.save(tmp_path / "in" / "v.npy", np.empty((0, DIM), np.float32))
    assert "v.npy has no metadata beside it" in refused(tmp_path / "in", ImportRefused)
    pq.write_table(pa.table({"url": pa.array([], pa.string())}), tmp_path / "in" / "v.parquet")
    assert "v.npy holds no vectors" in refused(tmp_path / "in", ImportRefused)
    assert "There is no file" in refused(tmp_path / "in", UsageError, metadata="nowhere.csv")


def test_missing_partner(tmp_path: Path) -> None:
    """A partition of clip-retrieval without its metadata is named."""
    folder = clip_retrieval(tmp_path / "in", ROWS[:3], ROWS[3:])
    (folder / "metadata" / "metadata_1.parquet").unlink()
    assert "1 miss a partner" in refused(folder, ImportRefused)


def test_which_metadata(tmp_path: Path) -> None:
    """Where several files could be the metadata, none is guessed."""
    folder = plain(tmp_path / "in", ROWS)
    write_rows(folder / "vectors.csv", ROWS)
    assert "vectors.npy could belong to vectors.csv or vectors.parquet" in refused(folder, UsageError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vectors.json", "{"),
        ("vectors.json", '{"url": "x"}'),
        ("vectors.json", '["x"]'),
        ("vectors.jsonl", "x\n"),
        ("vectors.csv", ""),
        ("vectors.csv", "url,width\na,1\nb,1,2\n"),
        ("vectors.csv", "url\n\udcff\n"),
        ("vectors.parquet", "PAR1 no more"),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path: Path, name: str, text: str) -> None:
    """A damaged file of metadata is refused by name."""
    folder = plain(tmp_path / "in", ROWS)
    (folder / "vectors.parquet").unlink()
    (folder / name).write_bytes(text.encode(errors="surrogateescape"))
    assert name in refused(folder, ImportRefused)


# Names


@pytest.mark.parametrize("nothing", [None, ""])
def test_row_without_a_name(tmp_path: Path, nothing: str | None) -> None:
    """A row without a URI is refused with its number and the way out."""
    rows = [*ROWS[:2], {**ROWS[2], "url": nothing}]
    message = refused(plain(tmp_path / "in", rows), ImportRefused)
    assert "Row 3 of vectors.npy (vectors.parquet) has no url" in message
    assert "--uri-column" in message


def test_no_column_names_images(tmp_path: Path) -> None:
    """Where no column is known to name images, the columns are listed and the position is not taken."""
    rows = [{"width": k, "label": "x"} for k in range(3)]
    message = refused(plain(tmp_path / "in", rows, vectors_of(rows, "width")), UnknownName)
    assert "Choose one with --uri-column: width, label." in message


@pytest.mark.parametrize(("column", "nearest"), [("urls", "url"), ("WIDTH", "width")])
def test_unknown_column(tmp_path: Path, column: str, nearest: str) -> None:
    """A column that is not there is answered with the nearest that is."""
    assert f"The nearest is {nearest!r}" in refused(plain(tmp_path / "in", ROWS), UnknownName, uri_column=column)


def test_column_that_names_nothing(tmp_path: Path) -> None:
    """Numbers with fractions, and lists, are no names."""
    lists, fractions = [{"uri": [1, 2]}, {"uri": [3]}], [{"uri": 0.5}, {"uri": 1.5}]
    folder = plain(tmp_path / "in", lists, vectors_of(lists, "uri"))
    assert "The column uri holds list" in refused(folder, ImportRefused)
    plain(folder, fractions, vectors_of(fractions, "uri"))
    assert "The column uri holds double" in refused(folder, ImportRefused)


@pytest.mark.parametrize("words", ["ViT-B-32", "local-dir:/x", "/openai", "ViT-B-32/"])
def test_words_that_name_no_encoder(tmp_path: Path, words: str) -> None:
    """An encoder is named by model and weights."""
    assert "names no encoder" in refused(plain(tmp_path / "in", ROWS), UsageError, encoder=words)


def test_array_that_is_not_there(tmp_path: Path) -> None:
    """An array that an archive does not hold is answered with those that it does."""
    write_rows(tmp_path / "in" / "v.parquet", ROWS)
    np.savez(tmp_path / "in" / "v.npz", b32_img=vectors_of(ROWS))
    assert "It holds: b32_img" in refused(tmp_path / "in", UnknownName, array="l14_img")


def test_captions_with_two_vectors(tmp_path: Path) -> None:
    """A caption that stands twice with different vectors is refused, with the cosine between them."""
    rows = [{**row, "caption": text} for row, text in zip(ROWS, "aabbcc", strict=True)]
    folder = clip_retrieval(tmp_path / "in", rows, captions=True)
    texts = vectors_of(rows, "caption")
    texts[1] = -texts[0]
    np.save(folder / "text_emb" / "text_emb_0.npy", texts)
    assert "'a' has another vector in an earlier row; the cosine between the two is -1.0000" in refused(
        folder, ImportRefused
    )
    texts[1] = 3 * texts[0]
    np.save(folder / "text_emb" / "text_emb_0.npy", texts)
    assert "The vector of the caption 'a' (text_emb_0.npy) has length 3" in refused(folder, ImportRefused)


def test_a_command_that_is_refused(tmp_path: Path) -> None:
    """On the command line a refusal is one line and exit code 1."""
    folder = plain(tmp_path / "in", ROWS, 2 * vectors_of(ROWS))
    result = typed("import", str(folder), "--store", str(tmp_path / "store"), "--encoder", ENCODER)
    assert result.exit_code == 1
    assert "pass --normalize" in one_line(result)


def test_an_empty_header_reads_no_rows(tmp_path: Path) -> None:
    """An array of no rows is opened, and gives none."""
    np.save(tmp_path / "v.npy", np.empty((0, 4), np.float16))
    with open_vectors(tmp_path / "v.npy").opened() as read:
        assert read(0).shape == (0, 4)
