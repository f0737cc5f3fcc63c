"""Concepts: what a TOML file may say, how a mistake in one is answered, and what scores are computed from."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.scoring.concepts import find_concepts, parse_concepts, shipped_concepts, shipped_names
from query.scoring.heads.known import HEADS
from query.scoring.heads.layers import linear
from query.scoring.kinds import Concept, Ensemble, Head, Pool, Prompt, from_record, scale_of
from query.scoring.readout import Readout, readout_of
from store.errors import ClipsieveError, UnknownName, UsageError
from tests.stores import unit

SUNGLASSES = """
[concept.sunglasses]
description = "the eyes are hidden by dark glasses"
pool = "mean"
positive = ["dark sunglasses", "black shades"]
negative = ["bare eyes"]
threshold = 0.7
"""

TEXTS = 'positive = ["a"]\nnegative = ["b"]\n'


def refusal(text: str) -> ClipsieveError:
    """The error that a concept file is answered with."""
    with pytest.raises(ClipsieveError) as caught:
        parse_concepts(text, "mine.toml")
    return caught.value


def test_every_key_is_read() -> None:
    """A concept is what its table says."""
    assert parse_concepts(SUNGLASSES, "mine.toml") == [
        Ensemble(
            name="sunglasses",
            positive=("dark sunglasses", "black shades"),
            negative=("bare eyes",),
            description="the eyes are hidden by dark glasses",
            pool="mean",
            threshold=0.7,
        )
    ]


def test_what_may_be_left_out() -> None:
    """Two lists of texts are enough: the pool is the mean, the suggested threshold 0.5."""
    (concept,) = parse_concepts(f"[concept.a]\n{TEXTS}", "mine.toml")
    assert isinstance(concept, Ensemble)
    assert (concept.description, concept.pool, concept.threshold) == ("", "mean", 0.5)


def test_several_concepts_in_one_file() -> None:
    """A file may hold several concepts; they come in its order."""
    names = [c.name for c in parse_concepts(f"[concept.b]\n{TEXTS}[concept.a]\n{TEXTS}", "mine.toml")]
    assert names == ["b", "a"]


@pytest.mark.parametrize("threshold", [0, 1, 0.5])
def test_the_ends_are_thresholds(threshold: float) -> None:
    """0 and 1 are thresholds too, and whole numbers are numbers."""
    (concept,) = parse_concepts(f"[concept.a]\n{TEXTS}threshold = {threshold}", "mine.toml")
    assert concept.threshold == threshold
    assert isinstance(concept.threshold, float)


@pytest.mark.parametrize(
    ("text", "kind", "place", "says"),
    [
        ("[concept.a\n", UsageError, "mine.toml", "not valid TOML"),
        ("[concept.a]\nx = = 1", UsageError, "mine.toml", "line 2"),
        ("", UsageError, "mine.toml", "holds no concept"),
        ("concept = 5", UsageError, "mine.toml", "holds no concept"),
        ("[concept]", UsageError, "mine.toml", "holds no concept"),
        ("[concpet.a]\n" + TEXTS, UnknownName, "mine.toml", "'concpet'"),
        ("[concept]\na = 5", UsageError, "[concept.a]", "not a table"),
        ("[concept.a]\npositve = ['a']", UnknownName, "[concept.a]", "The nearest is 'positive'"),
        ("[concept.a]\n" + TEXTS + "treshold = 0.5", UnknownName, "[concept.a]", "The nearest is 'threshold'"),
        ("[concept.a]\nnegative = ['b']", UsageError, "[concept.a]", "positive must be a list"),
        ("[concept.a]\npositive = ['a']", UsageError, "[concept.a]", "negative must be a list"),
        ("[concept.a]\npositive = []\nnegative = ['b']", UsageError, "[concept.a]", "positive"),
        ("[concept.a]\npositive = 'a'\nnegative = ['b']", UsageError, "[concept.a]", "positive"),
        ("[concept.a]\npositive = ['a', 5]\nnegative = ['b']", UsageError, "[concept.a]", "positive"),
        ("[concept.a]\npositive = ['a', ' ']\nnegative = ['b']", UsageError, "[concept.a]", "positive"),
        ("[concept.folder]\n" + TEXTS, UsageError, "[concept.folder]", "folder"),
        ("[concept.a]\n" + TEXTS + "pool = 'max'", UsageError, "[concept.a]", "'max'"),
        ("[concept.a]\n" + TEXTS + "threshold = 1.5", UsageError, "[concept.a]", "1.5"),
        ("[concept.a]\n" + TEXTS + "threshold = -0.1", UsageError, "[concept.a]", "-0.1"),
        ("[concept.a]\n" + TEXTS + "threshold = nan", UsageError, "[concept.a]", "nan"),
        ("[concept.a]\n" + TEXTS + "threshold = true", UsageError, "[concept.a]", "True"),
        ("[concept.a]\n" + TEXTS + "threshold = '0.5'", UsageError, "[concept.a]", "'0.5'"),
        ("[concept.A]\n" + TEXTS, UsageError, "[concept.A]", "cannot be a concept's name"),
        ("[concept.'a b']\n" + TEXTS, UsageError, "[concept.a b]", "cannot be a concept's name"),
        ("[concept.1a]\n" + TEXTS, UsageError, "[concept.1a]", "cannot be a concept's name"),
        ("[concept.'']\n" + TEXTS, UsageError, "[concept.]", "cannot be a concept's name"),
        ("[concept.'a\"; drop']\n" + TEXTS, UsageError, "[concept.a", "cannot be a concept's name"),
        ("[concept.uri]\n" + TEXTS, UsageError, "[concept.uri]", "none of: "),
        ("[concept.width_px]\n" + TEXTS, UsageError, "[concept.width_px]", "width_px"),
        ("[concept.rule]\n" + TEXTS, UsageError, "[concept.rule]", "none of: "),
    ],
)
def test_a_mistake_is_answered_with_its_place(text: str, kind: type[ClipsieveError], place: str, says: str) -> None:
    """An error names the file, the table and what is wrong there; for a misspelt key also the nearest one."""
    error = refusal(text)
    assert type(error) is kind
    assert error.exit_code == 2
    assert "mine.toml" in str(error)
    assert place in str(error)
    assert says in str(error)


def test_words_are_names_or_files(tmp_path: Path) -> None:
    """A word that ends in .toml is a file, any other a name; each concept comes once, and a file wins over a name."""
    path = tmp_path / "mine.toml"
    path.write_text(f"[concept.a]\n{TEXTS}[concept.people]\n{TEXTS}")
    known = {name: Ensemble(name, ("yes",), ("no",)) for name in ("mask", "people")}
    found = find_concepts(["mask", "people", str(path), "mask"], known)
    assert [c.name for c in found] == ["mask", "people", "a"]
    assert found[1].prompts == ("a", "b")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """`poeple` is answered with `people`, with what there is, and with how to bring a concept of one's own."""
    with pytest.raises(UnknownName, match=r"no concept 'poeple'.*Known: .*mask.*Nearest: people\..*\.toml"):
        find_concepts(["poeple"], shipped_concepts())


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    """A concept file that is not there, or is no UTF-8, is an error of use that names it."""
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"mine\.toml"):
        find_concepts([str(path)], {})


def test_the_shipped_concepts_are_sound() -> None:
    """What comes with clipsieve is named after its file, says what it means, and repeats no prompt."""
    shipped = shipped_concepts()
    assert {"people", "mask", "sunglasses"} <= shipped.keys()
    for name, concept in shipped.items():
        assert concept.name == name
        assert concept.description
        assert len(set(concept.prompts)) == len(concept.prompts)


def test_the_hash_is_of_what_a_score_depends_on() -> None:
    """Other prompts give another hash; another name, description or threshold gives the same."""
    concept = Ensemble("a", ("x", "y"), ("z",))
    same = dataclasses.replace(concept, name="b", description="words", threshold=0.9)
    assert same.content_hash == concept.content_hash
    others = [
        dataclasses.replace(concept, positive=("x",)),
        dataclasses.replace(concept, negative=("y",)),
        dataclasses.replace(concept, positive=("z",), negative=("x", "y")),
        dataclasses.replace(concept, positive=("x",), negative=("y", "z")),
        dataclasses.replace(concept, pool="softmax"),
        Prompt("a", "x"),
    ]
    assert len({concept.content_hash, *(c.content_hash for c in others)}) == 1 + len(others)


texts = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5)


@given(texts, texts, st.floats(0, 1), st.text(max_size=20), st.sampled_from(["mean", "softmax"]))
def test_a_record_is_the_concept(
    positive: list[str], negative: list[str], threshold: float, words: str, pool: Pool
) -> None:
    """A concept of any kind, written as a record into JSON and read again, is the same concept."""
    head = linear(np.array([0.1, threshold]), 1.5)
    concepts: list[Concept] = [
        Ensemble("a", tuple(positive), tuple(negative), pool=pool, threshold=threshold, description=words),
        Prompt("a", positive[0], threshold=threshold, origin=words),
        Head("a", head.sha256, head.shape, link="identity", unit=words, range=(-1.5, 7.0), tower=words, layers=head),
    ]
    for concept in concepts:
        again = from_record(json.loads(json.dumps(concept.to_record())))
        assert again == concept
        assert again.content_hash == concept.content_hash


def test_a_record_of_the_first_stores() -> None:
    """A record without a kind or an origin is an ensemble that may have been a shipped one; its hash is what it was."""
    record = {"name": "a", "positive": ["x"], "negative": ["y"], "description": "", "pool": "mean", "threshold": 0.5}
    concept = from_record({**record, "content_hash": "9e493e67276edfa5"})
    assert concept == Ensemble("a", ("x",), ("y",), origin="shipped")
    assert concept.content_hash == "9e493e67276edfa5"


def pooled(words: list[str], dim: int) -> npt.NDArray[np.float64]:
    """The `(dim,)` mean of the texts' vectors, normalised again."""
    mean = np.mean([unit(word, dim).astype(np.float64) for word in words], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def readout(concept: Concept, dim: int = 32, logit_scale: float = 100.0) -> Readout:
    """What the scores of a concept of prompts are computed from, each text's vector being `unit` of it."""
    return readout_of(concept, {text: unit(text, dim) for text in concept.prompts}, logit_scale, None)


@given(texts, texts, st.text(max_size=8), st.floats(1, 100), st.sampled_from([2, 17, 512]))
def test_the_mean_pool_is_the_softmax_of_two_cosines(
    positive: list[str], negative: list[str], image: str, logit_scale: float, dim: int
) -> None:
    """One vector: its sigmoid is softmax(logit_scale * [cosine to the positives, cosine to the negatives])[0]."""
    x = unit("image " + image, dim)
    found = readout(Ensemble("a", tuple(positive), tuple(negative)), dim, logit_scale)
    assert found.rows.shape == (1, dim)
    logits = logit_scale * np.array([pooled(words, dim) @ x.astype(np.float64) for words in (positive, negative)])
    expected = np.exp(logits - logits.max())
    assert found.scores(x[np.newaxis])[0] == pytest.approx(expected[0] / expected.sum(), abs=1e-5)


@given(texts, texts, st.text(max_size=8), st.floats(1, 100), st.sampled_from([2, 17, 512]))
def test_in_the_softmax_pool_every_prompt_competes(
    positive: list[str], negative: list[str], image: str, logit_scale: float, dim: int
) -> None:
    """The score is the sum of exp(logit_scale * cosine) over the positive prompts, divided by that over all."""
    x = unit("image " + image, dim)
    found = readout(Ensemble("a", tuple(positive), tuple(negative), pool="softmax"), dim, logit_scale)
    logits = np.array([logit_scale * (unit(text, dim).astype(np.float64) @ x) for text in [*positive, *negative]])
    expected = np.exp(logits - logits.max())
    score = expected[: len(positive)].sum() / expected.sum()
    assert found.scores(x[np.newaxis])[0] == pytest.approx(score, abs=1e-5)


def test_one_prompt_of_each_is_the_same_in_either_pool() -> None:
    """With one text for it and one against it, the two pools give the same scores."""
    x = np.stack([unit(f"image {k}") for k in range(50)])
    mean, softmax = (readout(Ensemble("a", ("x",), ("y",), pool=pool)).scores(x) for pool in ("mean", "softmax"))
    np.testing.assert_allclose(mean, softmax, atol=1e-6)
    assert np.ptp(mean) > 0.5


def test_a_single_prompt_is_its_cosine() -> None:
    """The score of one prompt is the cosine to it, whatever the logit scale."""
    x = unit("image")[np.newaxis]
    scores = [readout(Prompt("a", "x"), logit_scale=scale).scores(x)[0] for scale in (1.0, 100.0)]
    assert scores == pytest.approx([unit("x").astype(np.float64) @ x[0]] * 2, abs=1e-6)


@given(texts)
def test_the_same_texts_on_both_sides_say_nothing(positive: list[str]) -> None:
    """Where both sides hold the same prompts, every image scores one half in the mean pool."""
    rows = readout(Ensemble("a", tuple(positive), tuple(positive))).rows
    np.testing.assert_allclose(rows, 0, atol=1e-4)


def written(folder: Path, text: str) -> Concept:
    """The one concept of a file with this text under `[concept.a]`."""
    path = folder / "mine.toml"
    path.write_text(f"[concept.a]\n{text}")
    (concept,) = find_concepts([str(path)], {})
    return concept


def head_of(folder: Path, text: str) -> Head:
    """The one concept of such a file, which is trained weights."""
    concept = written(folder, text)
    assert isinstance(concept, Head)
    return concept


def test_a_prompt_from_a_file(tmp_path: Path) -> None:
    """A single text is a concept with a cosine for a score."""
    concept = written(tmp_path, 'prompt = "a photo of a dog"\n')
    assert concept == Prompt("a", "a photo of a dog", threshold=0.25, origin=str(tmp_path / "mine.toml"))
    assert (concept.kind, scale_of(concept)) == ("one prompt", "cosine, -1 to 1")


def test_linear_weights_in_the_file(tmp_path: Path) -> None:
    """A list of numbers is a linear concept; with a sigmoid it is a probability."""
    concept = head_of(tmp_path, "weight = [1, -2.5, 0]\nbias = 0.5\n")
    assert concept.layers is not None
    assert concept.layers.dense[0].weight.tolist() == [[1.0, -2.5, 0.0]]
    assert concept.layers.dense[0].bias.tolist() == [0.5]
    assert (concept.kind, concept.dim, concept.link) == ("linear", 3, "sigmoid")
    assert (concept.threshold, scale_of(concept)) == (0.5, "probability, 0 to 1")


def test_a_scale_of_its_own(tmp_path: Path) -> None:
    """With the identity the range is its own, and the threshold is its middle where none is given."""
    text = 'weight = [1.0]\nlink = "identity"\nrange = [1, 10]\n'
    concept = head_of(tmp_path, text)
    assert (concept.range, concept.threshold, concept.unit) == ((1.0, 10.0), 5.5, "score")
    assert scale_of(head_of(tmp_path, f'{text}unit = "rating"\nthreshold = 10\n')) == "rating, 1 to 10"


@pytest.mark.parametrize("words", ["w.npy", "deep/w.npz", "w.pth"])
def test_weights_beside_the_file(tmp_path: Path, words: str) -> None:
    """A file of weights is named relative to the TOML file, in any format; `bias` takes the place of its own."""
    path = tmp_path / words
    path.parent.mkdir(exist_ok=True)
    expected = linear(np.arange(3.0), 0.25)
    with path.open("wb") as file:
        if words.endswith(".npy"):
            np.save(file, np.arange(3.0))
        else:
            file.write(expected.to_npz())
    assert head_of(tmp_path, f'weight_file = "{words}"\nbias = 0.25\n').weights_sha256 == expected.sha256


def dense_file(folder: Path) -> None:
    """A head of two layers, `head.npz`."""
    arrays: dict[str, Any] = {
        "dense0.weight": np.ones((2, 4)),
        "dense1.weight": np.ones((1, 2)),
        "mean": np.zeros(4),
        "variance": np.ones(4),
    }
    np.savez(folder / "head.npz", **arrays)


def test_a_small_head(tmp_path: Path) -> None:
    """A file of dense layers is a head; it says for which tower it is, and QuickGELU in the name makes no other."""
    dense_file(tmp_path)
    concept = head_of(tmp_path, 'head_file = "head.npz"\ntower = "ViT-B-32-quickgelu/openai"\n')
    assert (concept.kind, concept.shape, concept.activation) == ("dense layers", (4, 2, 1), "relu")
    assert concept.tower == "ViT-B-32/openai"
    assert head_of(tmp_path, 'head_file = "head.npz"\nactivation = "none"\n').kind == "linear"


def test_the_hash_of_a_head_is_of_its_weights(tmp_path: Path) -> None:
    """Other numbers in the file, another link or activation give another hash; name, range and tower the same."""
    dense_file(tmp_path)
    text = 'head_file = "head.npz"\n'
    base = head_of(tmp_path, text)
    same = 'tower = "X/y"\nunit = "grain"\nrange = [0, 2]\nthreshold = 1.5\n'
    assert head_of(tmp_path, text + same).content_hash == base.content_hash
    others = [
        head_of(tmp_path, text + more) for more in ('link = "identity"\nrange = [0, 1]\n', 'activation = "none"\n')
    ]
    np.savez(tmp_path / "head.npz", **{"dense0.weight": np.ones((1, 4))})  # type: ignore[arg-type]
    others.append(head_of(tmp_path, text))
    assert len({base.content_hash, *(other.content_hash for other in others)}) == 4


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("pool = 'mean'\nprompt = 'x'", 2, "pool does not go with prompt. With prompt go: prompt, description"),
        ("prompt = ' '", 2, "prompt must be a text"),
        ("prompt = 5", 2, "prompt must be a text"),
        ("prompt = 'x'\nthreshold = 1.5", 3, "no number from -1 to 1"),
        ("positive = ['a']\nnegative = ['b']\nlink = 'sigmoid'", 4, "link does not go with positive"),
        ("weight = []", 2, "a list of numbers"),
        ("weight = [1, 'x']", 2, "a list of numbers"),
        ("weight = [1e300]", 2, "not finite"),
        ("weight = [inf]", 2, "a list of numbers"),
        ("weight = [1]\nweight_file = 'w.npy'", 3, "stands beside weight"),
        ("weight = [1]\nhead_file = 'w.npy'", 2, "weight does not go with head_file"),
        ("weight = [1]\nbias = 'x'", 3, "bias = 'x' is no number"),
        ("weight = [1]\nlink = 'tanh'", 3, "link = 'tanh' is not known"),
        ("weight = [1]\nlink = 'identity'", 1, "range is missing"),
        ("weight = [1]\nrange = [1, 1]", 3, "the lower one first"),
        ("weight = [1]\nrange = [2, 1]", 3, "the lower one first"),
        ("weight = [1]\nrange = [0, inf]", 3, "the lower one first"),
        ("weight = [1]\nrange = 5", 3, "the lower one first"),
        ("weight = [1]\nrange = [1, 10]\nthreshold = 0.5", 4, "no number from 1 to 10"),
        ("weight = [1]\nunit = 5", 3, "unit must be a text"),
        ("weight_file = 'none.npy'", 2, "none.npy"),
        ("weight_file = 'head.npz'", 2, "more than one vector"),
        ("head_file = 'mine.toml'", 2, "holds no weights of a head"),
        ("head_file = 'head.npz'\nactivation = 'gelu'", 3, "activation = 'gelu'"),
        ("head_file = 'head.npz'\nbias = 1.0", 3, "bias does not go with head_file"),
        ("hed_file = 'head.npz'", 2, "The nearest is 'head_file'"),
        ("weigth = [1]", 2, "The nearest is 'weight'"),
    ],
)
def test_a_mistake_of_any_kind_is_answered_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    """An error names the file, the line, the table and what is wrong there."""
    dense_file(tmp_path)
    with pytest.raises(UsageError) as caught:
        written(tmp_path, text)
    assert f"mine.toml, line {line}, [concept.a]: " in str(caught.value)
    assert says in str(caught.value)


def test_the_page_of_concepts(tmp_path: Path) -> None:
    """Every example of docs/concepts.md is read, and is of the kind that its heading says."""
    page = (Path(__file__).parents[1] / "docs" / "concepts.md").read_text(encoding="utf-8")
    np.save(tmp_path / "indoors.npy", np.ones(4))
    (tmp_path / "sharpness.npz").write_bytes(linear(np.ones(4), 0.5).to_npz())
    dense_file(tmp_path)
    (tmp_path / "head.npz").rename(tmp_path / "grain.npz")
    blocks = re.findall(r"^```toml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    found = [concept for text in blocks for concept in parse_concepts(text, "concepts.md", tmp_path)]
    assert {concept.name: concept.kind for concept in found} == {
        "hat": "prompts, softmax",
        "dog": "one prompt",
        "indoors": "linear",
        "sharpness": "linear",
        "grain": "dense layers",
    }
    for name in HEADS:
        assert f"| `{name}` |" in page


def test_names_that_come_along() -> None:
    """Shipped concepts and heads go by their names."""
    assert {"people", "mask", "sunglasses", "aesthetic", "aesthetic_improved", "nsfw"} <= set(shipped_names())
