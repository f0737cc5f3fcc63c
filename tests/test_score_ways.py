"""Concepts of every kind, scored in SQL or as a matrix product: both ways agree, and meet whatever a part may hold."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from query.connection import connect
from query.scoring import compute
from query.scoring.compute import FEW, as_matrix, few, in_sql
from query.scoring.heads.layers import Dense
from query.scoring.readout import Readout
from query.scoring.score_sets import image_parts
from store import parts
from store.errors import StoreDamaged, WrongEncoder
from store.layout import EncoderStore, Store, locate
from store.parts import read_part
from store.s3 import S3Options
from store.schema import embedding_matrix
from tests.scoring import (
    of_every_kind,
    readouts,
    reference,
    run,
    scores_of,
)
from tests.stores import (
    DIM,
    ENCODER,
    MASK,
    PEOPLE,
    HashTower,
    add_part,
    ask,
    broken,
    embedded,
    list_source,
    listed,
    new_store,
    small_store,
    unit,
)


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Two parts of six images each, and what failed."""
    return small_store(tmp_path / "store")


def test_concepts_of_every_kind_in_one_pass(store: EncoderStore, tmp_path: Path) -> None:
    """Each column of one set equals what its concept says of each embedding by itself."""
    concepts = of_every_kind(tmp_path)
    assert run(store, *concepts).parts_scored == 2
    for name, readout in readouts(concepts).items():
        expected: dict[str, float] = {}
        for part in image_parts(store):
            table = read_part(store.location, f"images/{part}.parquet", ["key", "embedding"])
            table = table.filter(table["embedding"].is_valid())
            scores = readout.scores(embedding_matrix(table["embedding"], DIM)).tolist()
            expected |= dict(zip(table["key"].to_pylist(), scores, strict=True))
        assert scores_of(store, name) == pytest.approx(expected, abs=1e-5)
        assert np.ptp(list(expected.values())) > 0.05


def test_both_ways_agree(store: EncoderStore, tmp_path: Path) -> None:
    """SQL and the matrix product give the same rows and, to 1e-5, the same scores, for whatever SQL can say."""
    found = {name: readout for name, readout in readouts(of_every_kind(tmp_path)).items() if not readout.hidden}
    assert {readout.link for readout in found.values()} == {"identity", "sigmoid", "softmax"}
    with connect(store.location) as connection:
        for name in store.parts("images"):
            ways = (in_sql(connection, store.location, name, found), as_matrix(store.location, name, found))
            in_order = [table.sort_by("uri") for table in ways]
            assert in_order[0].schema.names == in_order[1].schema.names
            assert in_order[0].select(["uri", "run_id"]).equals(in_order[1].select(["uri", "run_id"]))
            for column in found:
                np.testing.assert_allclose(in_order[0][column], in_order[1][column], atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "hidden", "sql"),
    [(0, False, False), (1, False, True), (FEW, False, True), (FEW + 1, False, False), (1, True, False)],
)
def test_few_vectors_are_asked_in_sql(vectors: int, *, hidden: bool, sql: bool) -> None:
    """The way is chosen by the number of vectors; hidden layers are no matter for SQL."""
    rows = np.zeros((1, DIM), np.float32)
    layer = (Dense(np.ones((1, 1), np.float32), np.zeros(1, np.float32)),) if hidden else ()
    every = {f"c{k}": Readout(rows, np.zeros(1, np.float32), "sigmoid", hidden=layer) for k in range(vectors)}
    assert few(every) is sql


@pytest.mark.parametrize("few_vectors", [0, 1000])
def test_either_way_meets_what_a_part_may_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_vectors: int
) -> None:
    """Both ways: parts of failures alone, of nothing, of many row groups, and rows in any order."""
    monkeypatch.setattr(compute, "FEW", few_vectors)
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 3)
    monkeypatch.setattr(compute, "_BLOCK_ROWS", 2)
    store = new_store(tmp_path / "store")
    objects = [listed(f"in/{k}.jpg") for k in (5, 3, 8, 1, 9, 2, 7, 4)]
    list_source(store, objects)
    add_part(store, [*(embedded(one) for one in objects[:7]), broken(objects[7])])
    add_part(store, [broken(objects[7])], part=1)
    add_part(store, [], part=2)
    run(store, PEOPLE)
    assert len(scores_of(store)) == 7
    assert scores_of(store) == pytest.approx(reference(store, PEOPLE), abs=1e-5)


def test_embeddings_of_another_length_are_damage(store: EncoderStore) -> None:
    """A part whose vectors are not the encoder's is named, in either way, before anything is written."""
    name = store.parts("images")[0]
    other = new_store(
        Path(store.location.uri).parents[1] / "other", dataclasses.replace(ENCODER, embedding_dim=DIM // 2)
    )
    one = listed("in/x.jpg")
    row = dataclasses.replace(embedded(one), embedding=unit("x", DIM // 2).astype(np.float16))
    add_part(other, [row])
    store.location.write(name, other.location.read(other.refreshed().parts("images")[0]) or b"")
    for concepts in ([PEOPLE], [PEOPLE, MASK, dataclasses.replace(MASK, name="other")]):
        with pytest.raises(StoreDamaged, match=r"images/.*parquet cannot be read"):
            run(store, *concepts)


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_store_on_s3_is_scored_in_either_way(
    monkeypatch: pytest.MonkeyPatch, s3: object, bucket: str, tmp_path: Path
) -> None:
    """pyarrow and DuckDB both read parts on S3."""
    store = Store.create(locate(f"s3://{bucket}/store", S3Options())).add_encoder(ENCODER)
    objects = [listed(f"in/{k}.jpg") for k in range(4)]
    list_source(store, objects)
    add_part(store, [embedded(one) for one in objects])
    run(store, PEOPLE)
    monkeypatch.setattr(compute, "FEW", 0)
    run(store, *of_every_kind(tmp_path), MASK)
    for concept in (PEOPLE, MASK):
        assert scores_of(store, concept.name) == pytest.approx(reference(store, concept), abs=1e-5)
    store = store.refreshed()
    assert [name for name in store.names if name.startswith("heads/")]


def test_a_head_of_another_dimension_is_refused(store: EncoderStore, tmp_path: Path) -> None:
    """Weights for other embeddings end in one sentence, and nothing is written for them."""
    (tmp_path / "w.toml").write_text(f"[concept.w]\nweight = [{'1.0, ' * 7}]\n")
    before = store.refreshed().names
    with pytest.raises(WrongEncoder, match=r"w takes embeddings of 7 dimensions; those of Tiny-synthetic.* have 32"):
        ask(store, HashTower()).score(str(tmp_path / "w.toml"))
    assert store.refreshed().names == before


def test_a_head_of_another_tower_is_refused(store: EncoderStore, tmp_path: Path) -> None:
    """A concept that says for which tower it is, is refused by any other and taken by its own."""
    text = f"[concept.w]\nweight = [{'1.0, ' * DIM}]\ntower = 'TOWER'\n"
    (tmp_path / "w.toml").write_text(text.replace("TOWER", "ViT-B-16/openai"))
    with pytest.raises(WrongEncoder, match=r"w was trained on embeddings of ViT-B-16/openai; .* Tiny/synthetic"):
        ask(store).score(str(tmp_path / "w.toml"))
    (tmp_path / "w.toml").write_text(text.replace("TOWER", "Tiny/synthetic"))
    assert ask(store).score(str(tmp_path / "w.toml")).parts_scored == 2
