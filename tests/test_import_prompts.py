"""Text vectors from elsewhere are cached with their texts; a concept that names these needs no text tower."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import clipsieve
from embed.encoders import load_text_tower, parse_encoder
from store.encoder import Encoder
from store.errors import ImportRefused, MissingExtra, UnknownName, UsageError, WrongEncoder
from tests.commands import one_line, typed
from tests.elsewhere import plain, rows_of, take, write_rows
from tests.stores import DIM, ENCODER, files_of, unit

TEXTS = ["a cat", "a dog", "ein Haus, groß"]


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of imported images."""
    take(plain(tmp_path / "in", rows_of(5)), tmp_path / "store")
    return str(tmp_path / "store")


@pytest.fixture
def vectors(tmp_path: Path) -> str:
    """The vectors of TEXTS, float16, of length 1."""
    np.save(tmp_path / "texts.npy", np.stack([unit(text) for text in TEXTS]).astype(np.float16))
    return str(tmp_path / "texts.npy")


def text_file(folder: Path, texts: list[str] = TEXTS) -> str:
    """One text a line."""
    file = folder / "texts.txt"
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(file)


def cached(store: str) -> dict[str, list[float]]:
    """Every cached prompt with its vector."""
    return {row["text"]: row["vector"] for row in clipsieve.open(store).sql("from prompts").to_pylist()}


@pytest.mark.parametrize("name", ["t.txt", "crlf.txt", "t.json", "t.csv", "t.parquet", "objects.json"])
def test_forms_of_texts(tmp_path: Path, store: str, vectors: str, name: str) -> None:
    """Texts are lines, a JSON list, or the column text of a table; their vectors are float32 of length 1."""
    file = tmp_path / name
    if file.suffix == ".txt":
        end = "\r\n" if name == "crlf.txt" else "\n"
        file.write_bytes(end.join(TEXTS).encode())
    elif name == "t.json":
        file.write_text(json.dumps(TEXTS))
    else:
        write_rows(file, [{"text": text, "number": k} for k, text in enumerate(TEXTS)])
    summary = clipsieve.import_prompts(store, vectors, str(file))
    assert (summary.vectors, summary.cached) == (3, 3)
    found = cached(store)
    assert found.keys() == set(TEXTS)
    assert all(np.allclose(found[text], unit(text), atol=1e-3) for text in TEXTS)
    assert np.allclose(np.linalg.norm([*found.values()], axis=1), 1, atol=1e-6)
    assert clipsieve.open(store).verify().sound


def test_column_is_chosen(tmp_path: Path, store: str, vectors: str) -> None:
    """`column` names the texts; where none is usual, the columns are listed."""
    table = write_rows(tmp_path / "t.csv", [{"klass": text, "number": str(k)} for k, text in enumerate(TEXTS)])
    with pytest.raises(UnknownName, match="--column: klass, number"):
        clipsieve.import_prompts(store, vectors, str(table))
    assert clipsieve.import_prompts(store, vectors, str(table), column="klass").cached == 3


def test_again_adds_nothing(tmp_path: Path, store: str, vectors: str) -> None:
    """The same prompts once more change no byte; with more texts only these are added."""
    texts = text_file(tmp_path)
    told = typed("import-prompts", store, "--vectors", vectors, "--texts", texts)
    assert told.stdout.startswith("Cached 3 of 3 prompts for Tiny-elsewhere-imported-")
    before = files_of(Path(store))
    told = typed("import-prompts", store, "--vectors", vectors, "--texts", texts)
    assert told.stdout.splitlines()[1] == "3 were there before, 0 stood twice in the file."
    assert files_of(Path(store)) == before
    more = [*TEXTS, "a tree", "a tree"]
    np.save(vectors, np.stack([unit(text) for text in more]))
    summary = clipsieve.import_prompts(store, vectors, text_file(tmp_path, more))
    assert (summary.cached, summary.already_cached, summary.repeated) == (1, 3, 1)


def test_a_text_with_another_vector(tmp_path: Path, store: str, vectors: str) -> None:
    """A text that is cached with another vector is refused, with the cosine between the two, and nothing is added."""
    clipsieve.import_prompts(store, vectors, text_file(tmp_path))
    before = files_of(Path(store))
    with pytest.raises(ImportRefused, match=r"'a cat' has another vector in the store; the cosine .* is 0\.\d{4}"):
        clipsieve.import_prompts(store, vectors, text_file(tmp_path, ["a tree", "a dog", "a cat"]))
    assert files_of(Path(store)) == before


def test_checks(tmp_path: Path, store: str, vectors: str) -> None:
    """Counts, dimension, length, finite values and empty texts are checked before anything is cached."""
    texts = text_file(tmp_path)
    with pytest.raises(ImportRefused, match=r"texts.npy has 3 rows, and .* has 2 texts"):
        clipsieve.import_prompts(store, vectors, text_file(tmp_path, TEXTS[:2]))
    with pytest.raises(ImportRefused, match="Row 2 has an empty text"):
        clipsieve.import_prompts(store, vectors, text_file(tmp_path, ["a", " ", "b"]))
    text_file(tmp_path)
    for array, message in (
        (np.ones((3, DIM + 1)), f"texts.npy has {DIM + 1} dimensions"),
        (np.ones((3, DIM)), r"Row 1 of texts.npy \('a cat'\) has length 5.657, not 1"),
        (np.full((3, DIM), np.nan), "not finite"),
        (np.array([[None]]), "a pickle"),
    ):
        np.save(vectors, array)
        with pytest.raises(ImportRefused, match=message):
            clipsieve.import_prompts(store, vectors, texts)
    with pytest.raises(UsageError, match=r"no \.npy file"):
        clipsieve.import_prompts(store, texts, texts)
    assert cached(store) == {}


def test_normalize(tmp_path: Path, store: str, vectors: str) -> None:
    """With normalize, vectors of any length are scaled to 1."""
    np.save(vectors, 11.5 * np.stack([unit(text) for text in TEXTS]))
    refusal = typed("import-prompts", store, "--vectors", vectors, "--texts", text_file(tmp_path))
    assert "--normalize" in one_line(refusal)
    clipsieve.import_prompts(store, vectors, text_file(tmp_path), normalize=True)
    assert np.allclose(cached(store)["a cat"], unit("a cat"), atol=1e-6)


def test_a_concept_of_other_texts_says_what_to_do(
    tmp_path: Path, store: str, vectors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without torch, a text that nobody imported is an error that names import-prompts."""

    def absent(_name: str) -> object:
        raise MissingExtra("Embedding needs torch, which is not installed.")

    monkeypatch.setattr(clipsieve, "_pass_one", absent)
    clipsieve.import_prompts(store, vectors, text_file(tmp_path))
    concept = tmp_path / "c.toml"
    concept.write_text('[concept.cat]\npositive = ["a cat"]\nnegative = ["a dog"]\n')
    assert clipsieve.open(store).score(str(concept)).concepts == ("cat",)
    concept.write_text('[concept.bird]\npositive = ["a bird"]\nnegative = ["a dog"]\n')
    with pytest.raises(MissingExtra, match="import-prompts"):
        clipsieve.open(store).score(str(concept))


def test_text_tower_of_an_imported_encoder(tiny_encoder: Path) -> None:
    """New texts of imported vectors are encoded by a model of their name, if its dimension is theirs."""
    spec = parse_encoder(f"local-dir:{tiny_encoder}")
    (dim,) = (json.loads((tiny_encoder / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"],)
    tower = load_text_tower(Encoder.of_imported("Tiny", "elsewhere", dim, 100.0), spec)
    assert tower.encode(["a cat"]).shape == (1, dim)
    with pytest.raises(WrongEncoder, match=f"makes vectors of {dim} dimensions, and the store's have {dim + 1}"):
        load_text_tower(Encoder.of_imported("Tiny", "elsewhere", dim + 1, 100.0), spec)


def test_name_of_an_imported_encoder_is_open_clips() -> None:
    """Where new texts are asked for under a name that open_clip does not know, it says so."""
    if find_spec("open_clip") is None:
        pytest.skip("this test asks open_clip, which comes with the embed extra")
    with pytest.raises(UnknownName, match="open_clip knows no model 'Tiny'"):
        load_text_tower(Encoder.of_imported("Tiny", "elsewhere", 4, 100.0))


def test_prompts_of_an_embedded_encoder(tmp_path: Path, vectors: str) -> None:
    """Prompts may be brought in for embedded vectors too."""
    from tests.stores import small_store

    small_store(tmp_path / "embedded")
    summary = clipsieve.import_prompts(str(tmp_path / "embedded"), vectors, text_file(tmp_path))
    assert (summary.encoder_id, summary.caution) == (ENCODER.encoder_id, None)
