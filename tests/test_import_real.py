"""Real vectors: 2,001 photos from CLIP ViT-B/16, the text vectors of Pascal VOC, and LAION's aesthetic head."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import clipsieve
from query.session import Session
from tests.elsewhere import plain, rows_of
from tests.stores import unit

VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog"),
    *("horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
]
"""Pascal VOC's classes in their usual order, that of the alphabet: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"""

PERSON = VOC.index("person")


@pytest.fixture(scope="module")
def photos_b16(shared_data: Path) -> npt.NDArray[np.float32]:
    """(2001, 512) float32, of length 1."""
    return np.fromfile(shared_data / "embeddings/unsplash_b16/embeddings.bin", "<f4").reshape(-1, 512)


@pytest.fixture(scope="module")
def voc_b16(shared_data: Path) -> npt.NDArray[np.float32]:
    """(20, 512) float32, of length 1, in the order of VOC."""
    vectors = np.load(shared_data / "embeddings/zegclip_text_b16/voc12_single.npy").astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The photos imported as they lie there, with VOC's text vectors as prompts."""
    place = tmp_path_factory.mktemp("unsplash")
    vectors = shared_data / "embeddings"
    summary = clipsieve.import_vectors(str(vectors / "unsplash_b16"), str(place / "store"), "ViT-B-16/openai")
    assert (summary.imported, summary.uri_column, summary.left_out) == (2001, "url", ("id",))
    (place / "voc.txt").write_text("\n".join(VOC))
    texts = str(vectors / "zegclip_text_b16/voc12_single.npy")
    assert clipsieve.import_prompts(str(place / "store"), texts, str(place / "voc.txt")).cached == 20
    return clipsieve.open(str(place / "store"))


def test_people_against_the_other_classes(
    store: Session,
    photos_b16: npt.NDArray[np.float32],
    voc_b16: npt.NDArray[np.float32],
    shared_data: Path,
    tmp_path: Path,
) -> None:
    """Scored against VOC's other classes in both ways, the photos with people are numpy's, without a text tower."""
    prompts = f'positive = ["person"]\nnegative = {json.dumps([name for name in VOC if name != "person"])}\n'
    concepts = tmp_path / "people.toml"
    concepts.write_text(f'[concept.margin]\npool = "mean"\n{prompts}[concept.competing]\npool = "softmax"\n{prompts}')
    assert store.score(str(concepts)).prompts_encoded == 0
    cosines = photos_b16 @ voc_b16.T
    mean = np.delete(voc_b16, PERSON, 0).mean(axis=0)
    margin = cosines[:, PERSON] - photos_b16 @ (mean / np.linalg.norm(mean))
    urls = [photo["url"] for photo in json.loads((shared_data / "embeddings/unsplash_b16/photo.json").read_text())]
    for name, scores, best, worst, people in (
        (
            "margin",
            1 / (1 + np.exp(-100 * margin)),
            "photo-1550424765-d7d2c6c399ba",
            "photo-1542317366-7902c90fd32a",
            370,
        ),
        (
            "competing",
            _softmax(cosines)[:, PERSON],
            "photo-1572696607346-f2305721ccca",
            "photo-1572805196285-29c1ebd80e82",
            64,
        ),
    ):
        rows = store.sql(f"select uri, {name} as score from scores order by score desc").to_pylist()  # noqa: S608  # ours
        expected = dict(zip(urls, scores, strict=True))
        assert all(abs(row["score"] - expected[row["uri"]]) < 2e-3 for row in rows)
        assert (rows[0]["uri"].endswith(best), rows[-1]["uri"].endswith(worst)) == (True, True)
        assert abs(sum(row["score"] >= 0.5 for row in rows) - people) <= 2


def _softmax(cosines: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each row of 100 times the cosines as shares of 1."""
    powers = np.exp(100 * (cosines - cosines.max(axis=1, keepdims=True)))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_aesthetics_of_real_photos(store: Session, shared_data: Path) -> None:
    """LAION's linear head for B/16 gives the photos a mean rating of 6.49 with a standard deviation of 0.88."""
    head = shared_data / "heads/laion_aesthetic/sa_0_4_vit_b_16_linear.pth"
    store.score("aesthetic", from_file=str(head))
    ratings = store.sql("select aesthetic from scores")["aesthetic"].to_numpy()
    assert (round(float(ratings.mean()), 2), round(float(ratings.std()), 2)) == (6.49, 0.88)


def test_text_vectors_of_another_model_are_noticed(store: Session, shared_data: Path, tmp_path: Path) -> None:
    """Detic's B/32 vectors are not of length 1; normalized, they contradict the B/16 vectors of the same names."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(["person", *(f"COCO {k}" for k in range(79))]))
    detic = str(shared_data / "embeddings/detic_text_b32/coco_clip_a+cname.npy")
    place = store.store.location.uri.rpartition("/")[0]
    with pytest.raises(clipsieve.ClipsieveError, match="pass --normalize"):
        clipsieve.import_prompts(place, detic, str(texts))
    with pytest.raises(clipsieve.ClipsieveError, match=r"'person' has another vector .* cosine .* is -?0\.0\d"):
        clipsieve.import_prompts(place, detic, str(texts), normalize=True)


def test_names_of_a_list_of_objects(shared_data: Path, tmp_path: Path) -> None:
    """LVIS's 1,203 names are read from the column `name` of its own JSON."""
    rows = rows_of(3)
    plain(tmp_path / "in", rows, np.stack([unit(row["url"], 512) for row in rows]))
    clipsieve.import_vectors(str(tmp_path / "in"), str(tmp_path / "store"), "ViT-B-32/openai")
    detic = shared_data / "embeddings/detic_text_b32"
    names = detic / "lvis_v1_train_cat_info.json"
    summary = clipsieve.import_prompts(
        str(tmp_path / "store"), str(detic / "lvis_v1_clip_a+cname.npy"), str(names), normalize=True
    )
    assert summary.cached == 1203


def test_everything_without_torch(tmp_path: Path) -> None:
    """Importing, scoring, sweeping and exporting work in a process in which torch and open_clip cannot be imported."""
    plain(tmp_path / "in", rows_of(12))
    np.save(tmp_path / "texts.npy", np.stack([unit("a cat"), unit("a dog")]))
    (tmp_path / "texts.txt").write_text("a cat\na dog\n")
    (tmp_path / "cat.toml").write_text('[concept.cat]\npositive = ["a cat"]\nnegative = ["a dog"]\n')
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'open_clip', 'PIL', 'faiss']))\n"  # None: no import
        "import clipsieve\n"
        "for words in sys.argv[1].split(';'):\n"
        "    clipsieve.main(words.split(), standalone_mode=False)\n"
    )
    commands = [
        "import in --store store --encoder Tiny/elsewhere",
        "import-prompts store --vectors texts.npy --texts texts.txt",
        "score store cat.toml",
        "sweep store cat --format json",
        "export store --remove cat>=0.5 --to run",
        "verify store",
    ]
    run = subprocess.run(
        [sys.executable, "-c", code, ";".join(commands)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Sound." in run.stdout, run.stderr
    assert list((tmp_path / "run").glob("*/removed.csv"))
