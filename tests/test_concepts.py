"""Concepts: what a TOML file may say, how a mistake in one is answered, and the vector that a concept becomes."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.scoring.concepts import Concept, find_concepts, parse_concepts, shipped_concepts
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
        Concept(
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
    known = {name: Concept(name, ("yes",), ("no",)) for name in ("mask", "people")}
    found = find_concepts(["mask", "people", str(path), "mask"], known)
    assert [c.name for c in found] == ["mask", "people", "a"]
    assert found[1].positive == ("a",)


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
    concept = Concept("a", ("x", "y"), ("z",))
    same = dataclasses.replace(concept, name="b", description="words", threshold=0.9)
    assert same.content_hash == concept.content_hash
    others = [
        dataclasses.replace(concept, positive=("x",)),
        dataclasses.replace(concept, negative=("y",)),
        dataclasses.replace(concept, positive=("z",), negative=("x", "y")),
        dataclasses.replace(concept, positive=("x",), negative=("y", "z")),
        dataclasses.replace(concept, pool="softmax"),
    ]
    assert len({concept.content_hash, *(c.content_hash for c in others)}) == 1 + len(others)


texts = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5)


@given(texts, texts, st.floats(0, 1), st.text(max_size=20))
def test_a_record_is_the_concept(positive: list[str], negative: list[str], threshold: float, words: str) -> None:
    """A concept written as a record and read again is the same concept."""
    concept = Concept("a", tuple(positive), tuple(negative), words, "mean", threshold)
    assert Concept.from_record(concept.to_record()) == concept


def pooled(words: list[str], dim: int) -> npt.NDArray[np.float64]:
    """The `(dim,)` mean of the texts' vectors, normalised again."""
    mean = np.mean([unit(word, dim).astype(np.float64) for word in words], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


@given(texts, texts, st.text(max_size=8), st.floats(1, 100), st.sampled_from([2, 17, 512]))
def test_the_weight_is_the_softmax_of_two_cosines(
    positive: list[str], negative: list[str], image: str, logit_scale: float, dim: int
) -> None:
    """sigmoid(weight . x) is softmax(logit_scale * [cosine to the positives, cosine to the negatives])[0]."""
    vectors = {text: unit(text, dim) for text in [*positive, *negative]}
    concept = Concept("a", tuple(positive), tuple(negative))
    x = unit("image " + image, dim).astype(np.float64)
    weight = concept.weight(vectors, logit_scale)
    assert weight.shape == (dim,)
    assert weight.dtype == np.float32
    score = 1 / (1 + np.exp(-(weight.astype(np.float64) @ x)))
    logits = logit_scale * np.array([pooled(positive, dim) @ x, pooled(negative, dim) @ x])
    expected = np.exp(logits - logits.max())
    assert score == pytest.approx(expected[0] / expected.sum(), abs=1e-5)


@given(texts)
def test_the_same_texts_on_both_sides_say_nothing(positive: list[str]) -> None:
    """Where both sides hold the same prompts, every image scores one half."""
    vectors = {text: unit(text) for text in positive}
    weight = Concept("a", tuple(positive), tuple(positive)).weight(vectors, 100.0)
    np.testing.assert_allclose(weight, 0, atol=1e-4)
