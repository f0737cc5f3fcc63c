"""Heads read from files: every format gives the same weights, no file runs code, and forward passes agree with theirs.

`tests/weights` holds what the libraries themselves wrote: a state dict of torch 2.13, and a Keras model that TensorFlow
2.21 trained and saved, each with the arrays or the outputs to expect.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.scoring.heads.files import parse_head, read_head
from query.scoring.heads.known import HEADS, head_for, heads_for, same_tower
from query.scoring.heads.layers import Dense, Layers, NotAHead, layers_of, linear
from query.scoring.kinds import Activation, Head, Link
from query.scoring.readout import fold, readout_of
from store.encoder import Encoder
from store.errors import UsageError, WrongEncoder
from tests.stores import ENCODER

WEIGHTS = Path(__file__).parent / "weights"
FIXTURES = ("keras_model.zip", "torch_layers.pth")


def saved(name: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` beside these tests."""
    with np.load(WEIGHTS / name) as arrays:
        return dict(arrays)


def head(layers: Layers, link: Link = "sigmoid", activation: Activation = "relu") -> Head:
    """A head of these layers."""
    return Head(
        "a", layers.sha256, layers.shape, link=link, activation=activation, unit="score", range=(0, 1), layers=layers
    )


def scored(
    layers: Layers, x: npt.NDArray[Any], link: Link = "sigmoid", activation: Activation = "relu"
) -> npt.NDArray[np.float32]:
    """The scores of (N, D) embeddings."""
    return readout_of(head(layers, link, activation), {}, 1.0, layers).scores(x)


def forward(layers: Layers, x: npt.NDArray[Any], activation: Activation) -> npt.NDArray[np.float64]:
    """The layers one after the other in float64, as whoever published them computes them; before the link."""
    h = x.astype(np.float64)
    if layers.mean is not None and layers.variance is not None:
        h = (h - layers.mean) / np.sqrt(layers.variance.astype(np.float64))
    for k, layer in enumerate(layers.dense):
        h = np.maximum(h, 0) if k and activation == "relu" else h
        h = h @ layer.weight.T.astype(np.float64) + layer.bias
    return np.asarray(h[:, 0])


def some_layers(*widths: int, seed: int = 0, standard: bool = False) -> Layers:
    """Layers of random weights."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for k, (width, after) in enumerate(pairwise(widths)):
        arrays[f"dense{k}.weight"] = rng.standard_normal((after, width)) / np.sqrt(width)
        arrays[f"dense{k}.bias"] = rng.standard_normal(after)
    if standard:
        arrays |= {"mean": rng.standard_normal(widths[0]), "variance": rng.random(widths[0]) + 0.1}
    return layers_of(arrays)


def test_a_keras_model_is_read_without_tensorflow() -> None:
    """A zipped SavedModel gives the scores that TensorFlow gave; what its optimizer keeps is no layer."""
    layers = read_head(WEIGHTS / "keras_model.zip")
    expected = saved("keras_model_expected.npz")
    assert layers.shape == (6, 4, 3, 1)
    np.testing.assert_allclose(scored(layers, expected["x"]), expected["y"], atol=1e-6)


def test_a_torch_file_is_read_without_torch() -> None:
    """A state dict gives its tensors, also where one is a transposed view and two share a storage."""
    layers = read_head(WEIGHTS / "torch_layers.pth")
    expected = saved("torch_layers_expected.npz")
    assert layers.shape == (6, 3, 1)
    for k, name in enumerate(("layers.0", "layers.2")):
        np.testing.assert_array_equal(layers.dense[k].weight, expected[f"{name}.weight"])
        np.testing.assert_array_equal(layers.dense[k].bias, expected[f"{name}.bias"])


@pytest.mark.parametrize("name", FIXTURES)
def test_the_sha256_is_of_the_weights(name: str) -> None:
    """Weights have one sha256, whatever file holds them; another number, shape or name gives another."""
    layers = read_head(WEIGHTS / name)
    assert parse_head(layers.to_npz()).sha256 == layers.sha256
    first = layers.dense[0]
    changed = Dense(first.weight + np.float32(1e-6), first.bias)
    assert Layers((changed, *layers.dense[1:]), layers.mean, layers.variance).sha256 != layers.sha256
    assert Layers(layers.dense).sha256 != Layers(layers.dense[:1]).sha256


@pytest.mark.parametrize(
    "names",
    [
        ("weight", "bias"),
        ("dense0.weight", "dense0.bias"),
        ("linear.weight", "linear.bias"),
        ("layers.0.weight", "layers.0.bias"),
    ],
)
def test_names_of_one_vector(names: tuple[str, str]) -> None:
    """One vector is one layer under any of the usual names, flat or as a row, with a bias or none."""
    weight, bias = np.arange(1.0, 5.0), np.array([0.5])
    expected = linear(weight, 0.5).sha256
    assert layers_of(dict(zip(names, (weight, bias), strict=True))).sha256 == expected
    assert layers_of(dict(zip(names, (weight[np.newaxis], bias), strict=True))).sha256 == expected
    assert layers_of({names[0]: weight}).sha256 == linear(weight, 0.0).sha256


def test_layers_stand_in_the_order_of_their_numbers() -> None:
    """Layer 10 comes after layer 2, and a standardisation is found under a prefix too."""
    layers = layers_of(
        {
            "linear_10.weight": np.ones((1, 3)),
            "linear_2.weight": np.ones((3, 4)),
            "norm.mean": np.zeros(4),
            "norm.variance": np.ones(4),
        }
    )
    assert layers.shape == (4, 3, 1)
    assert layers.mean is not None


def test_a_bare_vector_is_a_head(tmp_path: Path) -> None:
    """A `.npy` is one vector without a bias."""
    np.save(tmp_path / "w.npy", np.arange(4.0))
    assert read_head(tmp_path / "w.npy").sha256 == linear(np.arange(4.0), 0.0).sha256


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "no array in it is called `weight`"),
        ({"kernel": np.ones(3)}, "there are: kernel"),
        ({"weight": np.array(["a"])}, "holds no floats"),
        ({"weight": np.array([1, 2])}, "holds no floats"),
        ({"weight": np.array([1.0, np.nan])}, "not finite"),
        ({"weight": np.array([1.0, 1e300])}, "not finite"),
        ({"weight": np.ones((2, 3))}, "ends in 2 values"),
        ({"weight": np.ones((1, 3)), "bias": np.ones(2)}, "a layer of shape"),
        ({"weight": np.ones((1, 3, 2))}, "a layer of shape"),
        ({"dense0.weight": np.ones((4, 3)), "dense1.weight": np.ones((1, 5))}, "follows 4 values"),
        ({"weight": np.ones(3), "mean": np.ones(3)}, "only one"),
        ({"weight": np.ones(3), "mean": np.ones(2), "variance": np.ones(2)}, "first layer's width, 3"),
        ({"weight": np.ones(3), "mean": np.ones(3), "variance": np.array([1.0, 0.0, 1.0])}, "not above 0"),
    ],
)
def test_what_is_no_head_is_refused(arrays: Mapping[str, npt.NDArray[Any]], says: str) -> None:
    """Arrays that do not fit together, or are no numbers, are refused with what is wrong with them."""
    with pytest.raises(NotAHead, match=says):
        layers_of(arrays)


class Caught(Exception):
    """Raised where a file has got its code to run."""


def catch(*_: object) -> None:
    """What a hostile file asks for."""
    raise Caught


class Hostile:
    """Pickled, it asks for a call on loading."""

    def __init__(self, asked: Callable[..., object], *arguments: object) -> None:
        """Ask for this call."""
        self._asked, self._arguments = asked, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """What pickle writes of it."""
        return self._asked, self._arguments


def torch_file(pickled: bytes, **files: bytes) -> bytes:
    """A torch checkpoint with this pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in {"data/0": bytes(64), **files}.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


@pytest.mark.parametrize("asked", [catch, eval, print, __import__, pickle.loads])
def test_a_file_runs_no_code(asked: Callable[..., object]) -> None:
    """A checkpoint that asks for a function is refused before it is called."""
    for pickled in (Hostile(asked, "1"), {"weight": Hostile(asked, "1")}, [Hostile(asked, "1")]):
        with pytest.raises(NotAHead, match="which weights have no need of"):
            parse_head(torch_file(pickle.dumps(pickled, 2)))


STORAGE = "ctorch\nFloatStorage\n"


def tensor(offset: int, size: Sequence[int], stride: Sequence[int], storage: str = STORAGE) -> bytes:
    """A pickle of `{"weight": <tensor>}` over a storage of 16 numbers, as torch writes it."""
    shape, steps = ("".join(f"I{n}\n" for n in numbers) for numbers in (size, stride))
    persistent = f"(S'storage'\n{storage}S'0'\nS'cpu'\nI16\ntQ"
    call = f"ctorch._utils\n_rebuild_tensor_v2\n({persistent}I{offset}\n({shape}t({steps}tI00\n(dtR"
    return f"(S'weight'\n{call}d.".encode()


def test_a_tensor_as_torch_writes_it() -> None:
    """The pickle that the next test spoils is a good one: 8 numbers from the third on."""
    numbers = np.arange(16, dtype="<f4")
    layers = parse_head(torch_file(tensor(2, [1, 8], [8, 1]), **{"data/0": numbers.tobytes()}))
    np.testing.assert_array_equal(layers.dense[0].weight[0], numbers[2:10])


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        (tensor(9, [1, 8], [8, 1]), "outside its storage"),
        (tensor(0, [1, 17], [17, 1]), "outside its storage"),
        (tensor(-1, [1, 8], [8, 1]), "outside its storage"),
        (tensor(8, [1, 8], [8, -1]), "outside its storage"),
        (tensor(0, [1000000, 1000000], [0, 0]), "outside its storage"),
        (tensor(0, [1, 8], [8]), "damaged"),
        (tensor(0, [1, 8], [8, 1], "ctorch\nHalfStorage\n"), "torch.HalfStorage"),
        (b"I1\n.", "no torch state dict"),
        (pickle.dumps({"weight": 1}, 2), "no torch state dict"),
        (b"", "damaged"),
    ],
)
def test_a_spoiled_checkpoint_is_refused(spoiled: bytes, says: str) -> None:
    """A tensor outside its storage, of another type, or none at all: each is refused, and no memory is asked for it."""
    with pytest.raises(NotAHead, match=says):
        parse_head(torch_file(spoiled))


def test_a_big_endian_checkpoint_is_refused() -> None:
    """Numbers of the other byte order would be read as others."""
    with pytest.raises(NotAHead, match="big-endian"):
        parse_head(torch_file(tensor(2, [1, 8], [8, 1]), byteorder=b"big"))


@given(
    name=st.sampled_from([*FIXTURES, "torch_layers_expected.npz"]),
    at=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
def test_a_damaged_file_is_a_head_or_none(name: str, at: float, value: int, *, cut: bool) -> None:
    """A file with any byte changed, or its end missing, is read or refused; nothing else is ever raised."""
    data = bytearray((WEIGHTS / name).read_bytes())
    place = int(at * len(data))
    data[place] = value
    try:
        layers = parse_head(bytes(data[:place] if cut else data))
    except NotAHead:
        return
    assert layers.shape[-1] == 1


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """What is no file of weights, or not there, or far too large, is an error of use that names the file."""
    path = tmp_path / "head.pth"
    with pytest.raises(UsageError, match=r"Cannot read .*head\.pth"):
        read_head(path)
    path.write_text("<html>")
    with pytest.raises(UsageError, match=r"head\.pth holds no weights of a head: it is neither"):
        read_head(path)
    with path.open("wb") as file:
        file.truncate(1 << 27)
    with pytest.raises(UsageError, match="too large"):
        read_head(path)


@pytest.mark.parametrize("widths", [(8, 1), (8, 5, 1), (16, 9, 7, 3, 1)])
@pytest.mark.parametrize("activation", ["relu", "none"])
@pytest.mark.parametrize("standard", [True, False])
def test_the_readout_is_the_forward_pass(widths: tuple[int, ...], activation: Activation, *, standard: bool) -> None:
    """Standardisation folded into the first layer, and layers without activation into one: the scores stay theirs."""
    layers = some_layers(*widths, standard=standard)
    x = np.random.default_rng(1).standard_normal((50, widths[0])).astype(np.float32)
    expected = forward(layers, x, activation)
    np.testing.assert_allclose(scored(layers, x, "identity", activation), expected, atol=1e-4)
    np.testing.assert_allclose(scored(layers, x, "sigmoid", activation), 1 / (1 + np.exp(-expected)), atol=1e-5)


def test_layers_without_activation_are_one_map() -> None:
    """Their fold is one vector and one number, and the readout has no hidden layers."""
    layers = some_layers(8, 6, 4, 1)
    weight, bias = fold(layers.dense)
    assert (weight.shape, bias.shape) == ((1, 8), (1,))
    assert readout_of(head(layers, activation="none"), {}, 1.0, layers).hidden == ()
    assert len(readout_of(head(layers), {}, 1.0, layers).hidden) == 2


def test_extreme_products_are_no_warning() -> None:
    """A sigmoid far from 0 is 0 or 1, and near 0 it keeps its digits."""
    layers = linear(np.array([1.0]), 0.0)
    x = np.array([[-5000.0], [-15.0], [0.0], [5000.0]])
    np.testing.assert_allclose(scored(layers, x), [0, 3.059e-7, 0.5, 1], rtol=1e-3)


def encoder(model_name: str, pretrained: str, origin: str = "pretrained") -> Encoder:
    """An encoder of that name."""
    record = {**vars(ENCODER), "model_name": model_name, "pretrained": pretrained, "weights_origin": origin}
    return Encoder(**record)


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (("ViT-B-32", "openai"), {"aesthetic", "nsfw"}),
        (("ViT-B-32-quickgelu", "openai"), {"aesthetic", "nsfw"}),
        (("ViT-B-16", "openai", "imported"), {"aesthetic"}),
        (("ViT-L-14", "openai"), {"aesthetic", "aesthetic_improved", "nsfw"}),
        (("ViT-L-14-336", "openai"), set()),
        (("ViT-B-32", "laion2b_s34b_b79k"), set()),
        (("ViT-B-32", "openai", "checkpoint"), set()),
        (("ViT-B-32", "random", "random"), set()),
    ],
)
def test_heads_fit_their_towers(names: tuple[str, ...], fits: set[str]) -> None:
    """A head is for OpenAI's weights of some towers, with QuickGELU in the name or not; any other is refused."""
    tower = encoder(*names)
    assert set(heads_for(tower)) == fits
    for name in HEADS.keys() - fits:
        with pytest.raises(WrongEncoder, match=rf"{name} is for embeddings of ViT-.*/openai; those of this store"):
            head_for(name, tower)


def test_one_tower_has_one_name() -> None:
    """QuickGELU in the model's name makes no other tower."""
    assert same_tower("ViT-B-32-quickgelu/openai") == same_tower("ViT-B-32/openai") == "ViT-B-32/openai"


PUBLISHED = {
    ("aesthetic", "ViT-B-32/openai"): "laion_aesthetic/sa_0_4_vit_b_32_linear.pth",
    ("aesthetic", "ViT-B-16/openai"): "laion_aesthetic/sa_0_4_vit_b_16_linear.pth",
    ("aesthetic", "ViT-L-14/openai"): "laion_aesthetic/sa_0_4_vit_l_14_linear.pth",
    ("aesthetic_improved", "ViT-L-14/openai"): "improved_aesthetic/sac+logos+ava1-l14-linearMSE.pth",
    ("nsfw", "ViT-L-14/openai"): "laion_nsfw/clip_autokeras_binary_nsfw.npz",
    ("nsfw", "ViT-B-32/openai"): "laion_nsfw/clip_autokeras_nsfw_b32.npz",
}
IMPROVED_RATINGS = (1.655, 2.359, 3.070, 3.672, 4.238, 4.701, 5.073, 5.365, 5.577, 5.747)


def published(data: Path, name: str, tower: str) -> tuple[Layers, Head]:
    """A known head as it was published, from the shared data."""
    model, _, pretrained = tower.partition("/")
    return read_head(data / "heads" / PUBLISHED[name, tower]), head_for(name, encoder(model, pretrained))


def test_every_pin_is_that_of_the_published_weights(shared_data: Path) -> None:
    """sha256 and shape in the code are those of the real weights, for every head and every tower."""
    assert PUBLISHED.keys() == {(name, tower) for name, known in HEADS.items() for tower in known.towers}
    for name, tower in PUBLISHED:
        layers, pinned = published(shared_data, name, tower)
        assert (layers.sha256, layers.shape) == (pinned.weights_sha256, pinned.shape)


@pytest.mark.parametrize(
    ("tower", "outputs"),
    [("ViT-L-14/openai", "clip_autokeras_binary_nsfw"), ("ViT-B-32/openai", "clip_autokeras_nsfw_b32")],
)
def test_nsfw_agrees_with_the_original(shared_data: Path, tower: str, outputs: str) -> None:
    """Probabilities agree to 2e-4 with those of the original TensorFlow model, over its reference inputs."""
    layers, nsfw = published(shared_data, "nsfw", tower)
    with np.load(shared_data / "heads" / "laion_nsfw" / f"{outputs}_expected.npz") as expected:
        scores = readout_of(nsfw, {}, 100.0, layers).scores(expected["x"])
        np.testing.assert_allclose(scores, expected["y"], atol=2e-4)
        assert np.ptp(expected["y"]) > 0.3


def rated(data: Path, tower: str) -> npt.NDArray[np.float32]:
    """The ten reference embeddings of a tower, made for ratings 0 to 9."""
    folder = data / "heads" / "laion_aesthetic" / f"{tower}_embeddings"
    return np.concatenate([np.load(folder / f"rating{k}.npy") for k in range(10)])


@pytest.mark.parametrize(("tower", "short"), [("ViT-L-14/openai", "vit_l_14"), ("ViT-B-32/openai", "vit_b_32")])
def test_aesthetic_rises_with_the_rating(shared_data: Path, tower: str, short: str) -> None:
    """The linear heads order their ten reference embeddings as rated."""
    layers, aesthetic = published(shared_data, "aesthetic", tower)
    scores = readout_of(aesthetic, {}, 100.0, layers).scores(rated(shared_data, short))
    assert (np.diff(scores) > 0.5).all()


def test_improved_aesthetic_is_one_map(shared_data: Path) -> None:
    """Its five layers, folded into one vector, agree with themselves to 1e-4 and give the ratings that are known."""
    layers, improved = published(shared_data, "aesthetic_improved", "ViT-L-14/openai")
    x = rated(shared_data, "vit_l_14")
    readout = readout_of(improved, {}, 100.0, layers)
    assert (readout.rows.shape, readout.hidden) == ((1, 768), ())
    np.testing.assert_allclose(readout.scores(x), forward(layers, x, "none"), atol=1e-4)
    np.testing.assert_allclose(readout.scores(x), IMPROVED_RATINGS, atol=1e-3)


def test_aesthetic_of_real_photographs(shared_data: Path) -> None:
    """2,001 Unsplash photographs rate 6.49 on average, with a standard deviation of 0.88."""
    layers, aesthetic = published(shared_data, "aesthetic", "ViT-B-16/openai")
    x = np.fromfile(shared_data / "embeddings" / "unsplash_b16" / "embeddings.bin", np.float32).reshape(-1, 512)
    scores = readout_of(aesthetic, {}, 100.0, layers).scores(x)
    assert (scores.mean(), scores.std()) == pytest.approx((6.49, 0.88), abs=0.005)
