"""Known heads from their address to the scores: fetched once, checked, cached, kept in the store, refused elsewhere."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from query.scoring.heads import fetch, known
from query.scoring.heads.known import KnownHead, Published
from query.scoring.heads.layers import Layers
from query.scoring.inputs import damaged_heads
from query.scoring.readout import readout_of
from store.errors import StoreDamaged, UsageError, WeightsUnavailable, WrongEncoder
from store.layout import EncoderStore
from store.parts import read_part
from store.schema import embedding_matrix
from tests.commands import one_line, typed
from tests.head_server import Home, head_server
from tests.stores import DIM, ENCODER, add_part, ask, embedded, list_source, listed, new_store
from tests.test_heads import some_layers

ADDRESS = "somebody/heads/main/grain.npz"
GRAIN = some_layers(DIM, 5, 1, standard=True)
OTHER = some_layers(DIM, 5, 1, seed=9)
TOWER = replace(ENCODER, model_name="ViT-B-32-quickgelu", pretrained="openai")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Home]:
    """The only place where heads are published, with one head `grain` for ViT-B-32/openai, and an empty cache."""
    published = Published(ADDRESS, GRAIN.sha256, GRAIN.shape)
    grain = KnownHead("how grainy it is", "probability", (0.0, 1.0), 0.5, "sigmoid", {"ViT-B-32/openai": published})
    monkeypatch.setitem(vars(known)["HEADS"], "grain", grain)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with head_server() as server:
        monkeypatch.setenv("CLIPSIEVE_HEADS_URL", server.url)
        server.files[f"/{ADDRESS}"] = GRAIN.to_npz()
        yield server


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """A store of two images whose encoder is that of the head."""
    held = new_store(tmp_path / "store", TOWER)
    objects = [listed("in/a.jpg"), listed("in/b.jpg")]
    list_source(held, objects)
    add_part(held, [embedded(one) for one in objects])
    return held.refreshed()


def scores_of(store: EncoderStore, name: str = "grain") -> dict[str, float]:
    """The scores by URI."""
    rows = ask(store).sql(f"select uri, {name} as score from scores").to_pylist()  # noqa: S608
    return {row["uri"]: row["score"] for row in rows}


def reference(store: EncoderStore, layers: Layers = GRAIN) -> dict[str, float]:
    """The scores by the forward pass in float64, from what the store holds."""
    found: dict[str, float] = {}
    for name in store.refreshed().parts("images"):
        table = read_part(store.location, name, ["uri", "embedding"])
        h: npt.NDArray[Any] = embedding_matrix(table["embedding"], DIM).astype(np.float64)
        if layers.mean is not None and layers.variance is not None:
            h = (h - layers.mean) / np.sqrt(layers.variance)
        first, last = layers.dense
        h = np.maximum(h @ first.weight.T + first.bias, 0) @ last.weight.T + last.bias
        found |= zip(table["uri"].to_pylist(), (1 / (1 + np.exp(-h[:, 0]))).tolist(), strict=True)
    return found


def cached(tmp_path: Path) -> list[str]:
    """The names in the user's cache."""
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_head_is_fetched_once(home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """Named, it is fetched, scored and cached; named again, or for another store, it is fetched no more."""
    ask(store).score("grain")
    assert scores_of(store) == pytest.approx(reference(store), abs=1e-5)
    assert home.asked == [f"/{ADDRESS}"]
    assert cached(tmp_path) == [f"{GRAIN.sha256}.npz"]
    ask(store).score("grain")
    other = new_store(tmp_path / "other", TOWER)
    list_source(other, [listed("in/c.jpg")])
    add_part(other, [embedded(listed("in/c.jpg"))])
    ask(other).score("grain")
    assert len(home.asked) == 1


def test_without_its_name_nothing_is_fetched(home: Home, store: EncoderStore) -> None:
    """A listing of concepts names the head and asks no network."""
    assert "grain" in ask(store).concepts()["concept"].to_pylist()
    assert home.asked == []


def test_the_store_keeps_what_its_scores_came_from(home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """New images are scored with the weights in the store: no cache, no network and no file is needed."""
    ask(store).score("grain")
    assert [name for name in store.refreshed().names if name.startswith("heads/")] == [f"heads/{GRAIN.sha256}.npz"]
    (tmp_path / "cache" / "clipsieve" / "heads" / f"{GRAIN.sha256}.npz").unlink()
    add_part(store, [embedded(listed("in/new.jpg"))], number=2)
    list_source(store, [listed(f"in/{key}.jpg") for key in ("a", "b", "new")], number=2)
    assert ask(store).score().concepts == ("grain", "mask", "people", "sunglasses")
    assert len(scores_of(store)) == 3
    assert scores_of(store) == pytest.approx(reference(store), abs=1e-5)
    assert len(home.asked) == 1


@pytest.fixture(autouse=True)
def cached_prompts(store: EncoderStore) -> None:
    """The vectors of the shipped prompts, as pass 1 leaves them: no test here is about text."""
    from query.scoring.concepts import shipped_concepts
    from store.prompts import add_prompts
    from tests.stores import HashTower

    texts = [text for concept in shipped_concepts().values() for text in concept.prompts]
    add_prompts(store, texts, HashTower().encode(texts))


@pytest.mark.parametrize("content", [OTHER.to_npz(), GRAIN.to_npz()[:-30], b"<html>Sign in</html>"])
def test_other_weights_are_refused(home: Home, store: EncoderStore, tmp_path: Path, content: bytes) -> None:
    """What is not what was published is neither used nor cached, and the way out is named."""
    home.files[f"/{ADDRESS}"] = content
    with pytest.raises(WeightsUnavailable, match=r"not the head grain as it was published.*--from FILE"):
        ask(store).score("grain")
    assert cached(tmp_path) == []
    assert [name for name in store.refreshed().names if name.startswith(("heads/", "scores/"))] == []


def test_a_damaged_cache_is_fetched_again(home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """A file in the cache that is not what its name says is replaced."""
    path = tmp_path / "cache" / "clipsieve" / "heads" / f"{GRAIN.sha256}.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(OTHER.to_npz())
    ask(store).score("grain")
    assert path.read_bytes() == GRAIN.to_npz()
    assert len(home.asked) == 1


def test_where_there_is_no_network(monkeypatch: pytest.MonkeyPatch, home: Home, store: EncoderStore) -> None:
    """One line says what is missing, where it lies and what to do; nothing is written into the store."""
    monkeypatch.setenv("CLIPSIEVE_HEADS_URL", "http://127.0.0.1:9")
    before = store.refreshed().names
    line = one_line(typed("score", str(Path(store.location.uri).parent), "grain"))
    assert "cannot be fetched from http://127.0.0.1:9/somebody/heads/main/grain.npz: Connection refused." in line
    assert line.endswith("Download that file elsewhere and run `clipsieve score STORE grain --from FILE`.")
    assert store.refreshed().names == before


def test_a_place_that_says_no(home: Home, store: EncoderStore) -> None:
    """A missing file is answered with the status."""
    home.files.clear()
    with pytest.raises(WeightsUnavailable, match="the answer is 404"):
        ask(store).score("grain")


def test_a_place_that_says_nothing(monkeypatch: pytest.MonkeyPatch, home: Home, store: EncoderStore) -> None:
    """A server that accepts and never answers is given up after the time that is allowed for it."""
    monkeypatch.setattr(fetch, "ANSWER_S", 0.2)
    home.silent = True
    with pytest.raises(WeightsUnavailable, match="it does not answer in time"):
        ask(store).score("grain")


def test_a_redirect_never_leaves_https(home: Home, store: EncoderStore) -> None:
    """A redirect to plain http is not followed, even to a place that has the right file."""
    with head_server() as other:
        other.files[f"/{ADDRESS}"] = GRAIN.to_npz()
        home.redirect = f"{other.url}/{ADDRESS}"
        with pytest.raises(WeightsUnavailable, match="the answer is 302"):
            ask(store).score("grain")
        assert other.asked == []


def test_endless_files_are_broken_off(monkeypatch: pytest.MonkeyPatch, home: Home, store: EncoderStore) -> None:
    """No more is read than a head can be."""
    monkeypatch.setattr(fetch, "LARGEST_BYTES", 100)
    with pytest.raises(WeightsUnavailable, match="more than a head can be"):
        ask(store).score("grain")


@pytest.mark.parametrize("url", ["http://example.org", "ftp://127.0.0.1", "file:///etc", "127.0.0.1"])
def test_a_mirror_is_https(monkeypatch: pytest.MonkeyPatch, home: Home, store: EncoderStore, url: str) -> None:
    """Only a mirror on this machine may do without https."""
    monkeypatch.setenv("CLIPSIEVE_HEADS_URL", url)
    with pytest.raises(UsageError, match="must be an https address"):
        ask(store).score("grain")


def test_from_a_file(monkeypatch: pytest.MonkeyPatch, home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """`--from FILE` takes the weights in any format, checks that they are the published ones, and asks no network."""
    monkeypatch.setenv("CLIPSIEVE_HEADS_URL", "http://127.0.0.1:9")
    place = str(Path(store.location.uri).parent)
    (tmp_path / "other.npz").write_bytes(OTHER.to_npz())
    line = one_line(typed("score", place, "grain", "--from", str(tmp_path / "other.npz")))
    assert "other.npz is not the head grain for ViT-B-32/openai: the sha256 of its weights is" in line
    (tmp_path / "grain.bin").write_bytes(GRAIN.to_npz())
    result = typed("score", place, "grain", "--from", str(tmp_path / "grain.bin"))
    assert result.stdout == "Scored grain: 1 of 1 parts.\n"
    assert scores_of(store) == pytest.approx(reference(store), abs=1e-5)
    assert cached(tmp_path) == [f"{GRAIN.sha256}.npz"]
    assert home.asked == []


@pytest.mark.parametrize("words", [[], ["people"], ["grain", "people"]])
def test_from_goes_with_one_head(home: Home, store: EncoderStore, words: list[str]) -> None:
    """A file of weights belongs to exactly one head."""
    with pytest.raises(UsageError, match="--from brings the weights of one head"):
        ask(store).score(*words, from_file="head.npz")


def test_another_tower_is_refused(home: Home, tmp_path: Path) -> None:
    """A head for another encoder is refused before anything is fetched, with the towers that it is for."""
    other = new_store(tmp_path / "other", replace(TOWER, pretrained="laion2b_s34b_b79k"))
    with pytest.raises(WrongEncoder, match=r"grain is for embeddings of ViT-B-32/openai.*ViT-B-32/laion2b_s34b_b79k"):
        ask(other).score("grain")
    assert home.asked == []


def test_a_damaged_head_is_a_fault(home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """`verify` names weights in the store that are not those of their name, and the next `score` mends them."""
    ask(store).score("grain")
    assert ask(store).verify().sound
    store.location.write(f"heads/{GRAIN.sha256}.npz", OTHER.to_npz())
    assert ask(store).verify().faults == (f"heads/{GRAIN.sha256}.npz: its arrays are not those that it is named after",)
    add_part(store, [embedded(listed("in/c.jpg"))], number=2)
    ask(store).score("grain")
    assert damaged_heads(store.refreshed()) == []


def test_lost_weights_of_a_file_are_asked_for(home: Home, store: EncoderStore, tmp_path: Path) -> None:
    """Weights that were in a concept file alone, and are gone everywhere, end in a sentence that names the file."""
    np.savez(tmp_path / "mine.npz", **OTHER.arrays())  # type: ignore[arg-type]
    (tmp_path / "mine.toml").write_text('[concept.mine]\nhead_file = "mine.npz"\n')
    ask(store).score(str(tmp_path / "mine.toml"))
    assert scores_of(store, "mine") == pytest.approx(reference(store, OTHER), abs=1e-5)
    store.location.remove(f"heads/{OTHER.sha256}.npz")
    (tmp_path / "mine.toml").rename(tmp_path / "away.toml")
    add_part(store, [embedded(listed("in/c.jpg"))], number=2)
    with pytest.raises(StoreDamaged, match=r"weights of mine, cannot be read.*mine\.toml"):
        ask(store).score("mine")


def test_scores_of_a_readout_are_those_of_the_store(home: Home, store: EncoderStore) -> None:
    """What is cached is what the head says of each vector by itself."""
    ask(store).score("grain")
    table = read_part(store.location, store.parts("images")[0], ["uri", "embedding"])
    readout = readout_of(known.head_for("grain", TOWER), {}, 100.0, GRAIN)
    expected = readout.scores(embedding_matrix(table["embedding"], DIM))
    assert scores_of(store) == pytest.approx(dict(zip(table["uri"].to_pylist(), expected.tolist(), strict=True)))
