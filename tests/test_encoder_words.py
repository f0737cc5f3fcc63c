"""Which encoder the words of `--encoder` mean, and which activation its weights need."""

from pathlib import Path

import pytest

from embed.encoders import EncoderSpec, list_encoders, parse_encoder
from embed.encoders import torchvision_shim as shim
from embed.encoders.identity import architecture_sha256
from embed.encoders.spec import needs_quick_gelu
from store.errors import UnknownName, UsageError


@pytest.mark.parametrize(
    ("words", "random_weights", "expected"),
    [
        ("ViT-B-32/laion2b_s34b_b79k", False, ("ViT-B-32", "laion2b_s34b_b79k", "pretrained", "")),
        ("ViT-B-32/LAION2B-s34B-b79K", False, ("ViT-B-32", "laion2b_s34b_b79k", "pretrained", "")),
        ("ViT-B-32", True, ("ViT-B-32", None, "random", "")),
        ("hf-hub:org/name", False, ("org/name", None, "hf-hub", "org/name")),
        ("local-dir:/models/mine", False, ("mine", None, "local-dir", "/models/mine")),
    ],
)
def test_words_name_an_encoder(words: str, *, random_weights: bool, expected: tuple[str | None, ...]) -> None:
    """Each form of `--encoder` says which model is meant and where its weights come from."""
    spec = parse_encoder(words, random_weights=random_weights)
    assert (spec.model_name, spec.pretrained, spec.origin, spec.location) == expected
    assert parse_encoder(spec.words.split(" ")[0], random_weights=random_weights) == spec


def test_checkpoint_paths_are_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the model's slash stands a file: relative as it is, absolute with a second slash."""
    (tmp_path / "runs").mkdir()
    file = tmp_path / "runs" / "epoch.pt"
    file.touch()
    monkeypatch.chdir(tmp_path)
    expected = EncoderSpec("ViT-B-32", None, "checkpoint", str(file))
    assert parse_encoder("ViT-B-32/runs/epoch.pt") == expected
    assert parse_encoder(f"ViT-B-32/{file}") == expected


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("ViT-B/32", "ViT-B-32"),
        ("vit-b-32/openai", "ViT-B-32"),
        ("ViT-B-32/laion2b_s34b", "laion2b_s34b_b79k"),
        ("ViT-B-32/nowhere/epoch.pt", "no checkpoint file 'nowhere/epoch.pt'"),
        ("xyzzy-9000", "list_encoders"),
    ],
)
def test_unknown_names_come_with_the_nearest(words: str, hint: str) -> None:
    """A mistyped model, tag or file is answered with what was probably meant, and how to list the rest."""
    with pytest.raises(UnknownName) as caught:
        parse_encoder(words)
    assert hint in str(caught.value)


def test_weights_are_never_random_by_accident() -> None:
    """A model without weights is refused unless random weights are asked for by name."""
    with pytest.raises(UsageError, match="--random-weights"):
        parse_encoder("ViT-B-32")


@pytest.mark.parametrize("words", ["ViT-B-32/openai", "local-dir:/models/mine", "hf-hub:org/name"])
def test_random_weights_contradict_named_weights(words: str) -> None:
    """Asking for random weights and naming weights is wrong use."""
    with pytest.raises(UsageError, match="contradicts"):
        parse_encoder(words, random_weights=True)


@pytest.mark.parametrize("words", ["local-dir:", "hf-hub:", "hf-hub:name", "hf-hub:a/b/c"])
def test_empty_places_are_refused(words: str) -> None:
    """A scheme without a folder or repository is wrong use."""
    with pytest.raises(UsageError):
        parse_encoder(words)


@pytest.mark.parametrize(
    ("model", "tag", "expected"),
    [
        ("ViT-L-14", "dfn2b", True),
        ("ViT-L-14-quickgelu", "dfn2b", True),
        ("ViT-L-14", "dfn2b_s39b", False),
        ("ViT-B-32", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
        ("ViT-H-14-worldwide-378", "metaclip2_worldwide", False),
    ],
)
def test_activation_follows_the_weights(model: str, tag: str, *, expected: bool) -> None:
    """QuickGELU is used exactly where the weights were trained with it, whichever of the two names is given."""
    open_clip = shim.import_open_clip()
    config = open_clip.get_model_config(model)
    assert needs_quick_gelu(model, config, open_clip.get_pretrained_cfg(model, tag)) is expected


def test_quickgelu_model_with_other_weights_is_refused() -> None:
    """A model name that asks for QuickGELU with weights trained without it is refused, with the right name."""
    with pytest.raises(UsageError, match="Use ViT-L-14/dfn2b_s39b"):
        parse_encoder("ViT-L-14-quickgelu/dfn2b_s39b")


def test_contradicting_records_are_refused() -> None:
    """Where open_clip's config and its record of the weights disagree, the repository's own config must decide."""
    open_clip = shim.import_open_clip()
    name, tag = "roberta-ViT-B-32", "laion2b_s12b_b32k"
    with pytest.raises(UsageError, match="hf-hub:laion/CLIP-ViT-B-32-roberta-base-laion2B-s12B-b32k"):
        needs_quick_gelu(name, open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, tag))


def test_every_listed_encoder_has_a_repository() -> None:
    """Every tag of open_clip can be had from the hub: no other way of downloading is needed."""
    open_clip = shim.import_open_clip()
    pairs = [words.split("/") for words in list_encoders()]
    assert all(open_clip.get_pretrained_cfg(model, tag)["hf_hub"] for model, tag in pairs)


def test_both_names_of_one_model_are_one_architecture() -> None:
    """`ViT-B-32` forced to QuickGELU and `ViT-B-32-quickgelu` have the same fingerprint of their architecture."""
    open_clip = shim.import_open_clip()
    forced = {**open_clip.get_model_config("ViT-B-32"), "quick_gelu": True}
    assert architecture_sha256(forced) == architecture_sha256(open_clip.get_model_config("ViT-B-32-quickgelu"))
