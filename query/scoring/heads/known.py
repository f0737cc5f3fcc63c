"""The heads that go by a name: where they were published, and the sha256 of their weights.

That sha256 is of the arrays themselves (`Layers.sha256`), so that the published file, a copy in another format and the
cached one are all recognised, and nothing else is. Weights are looked for in the cache, then at their address; a file
that was brought by hand takes the place of both.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from query.scoring.heads.files import parse_head, read_head
from query.scoring.heads.layers import Layers, NotAHead
from query.scoring.kinds import SHIPPED, Activation, Head, Link
from store.encoder import Encoder
from store.errors import UsageError, WeightsUnavailable, WrongEncoder
from store.location import FolderLocation

_AESTHETIC = "LAION-AI/aesthetic-predictor/main/sa_0_4"
_IMPROVED = "christophschuhmann/improved-aesthetic-predictor/main/sac%2Blogos%2Bava1-l14-linearMSE.pth"
_NSFW = "LAION-AI/CLIP-based-NSFW-Detector/main/clip_autokeras"


@dataclass(frozen=True)
class Published:
    """A head's weights for one tower."""

    address: str  # below https://raw.githubusercontent.com
    weights_sha256: str
    shape: tuple[int, ...]  # widths from the embedding to the score


@dataclass(frozen=True)
class KnownHead:
    """What a head asks, and its weights for each tower (MODEL/PRETRAINED) that it was trained for."""

    description: str
    unit: str
    range: tuple[float, float]
    threshold: float
    link: Link
    towers: Mapping[str, Published]
    activation: Activation = "relu"


HEADS: Mapping[str, KnownHead] = {
    # https://github.com/LAION-AI/aesthetic-predictor: one linear map, trained on ratings from 1 to 10.
    "aesthetic": KnownHead(
        description="how beautiful people would find it, from about 1 to 10 (LAION, linear)",
        unit="rating",
        range=(1.0, 10.0),
        threshold=5.0,
        link="identity",
        towers={
            "ViT-B-32/openai": Published(
                f"{_AESTHETIC}_vit_b_32_linear.pth",
                "060216d05eded8800fa6439ba383527cf6b56de55b6f151da0e4f3cb833cdfda",
                (512, 1),
            ),
            "ViT-B-16/openai": Published(
                f"{_AESTHETIC}_vit_b_16_linear.pth",
                "d918a55f473775ec1b7b580cb60179f603f81234fcfdae22a603ca755fe74430",
                (512, 1),
            ),
            "ViT-L-14/openai": Published(
                f"{_AESTHETIC}_vit_l_14_linear.pth",
                "12bb32a31171d5da84ca1959f6f6830e2b8e1e992d672a0d4f87261a9d119085",
                (768, 1),
            ),
        },
    ),
    # https://github.com/christophschuhmann/improved-aesthetic-predictor: five layers, but with dropout alone between
    # them, which does nothing once they are trained: together one linear map.
    "aesthetic_improved": KnownHead(
        description="how beautiful people would find it, from about 1 to 10 (LAION, sac+logos+ava1)",
        unit="rating",
        range=(1.0, 10.0),
        threshold=5.0,
        link="identity",
        activation="none",
        towers={
            "ViT-L-14/openai": Published(
                _IMPROVED,
                "3ac4db2566d4c12996bdb1e0b03f0afb76dd4728ae19b6ed9e1c5ce11a61a5e0",
                (768, 1024, 128, 64, 16, 1),
            ),
        },
    ),
    # https://github.com/LAION-AI/CLIP-based-NSFW-Detector: a standardisation and dense layers with ReLU.
    "nsfw": KnownHead(
        description="how probably it is nude or pornographic (LAION)",
        unit="probability",
        range=(0.0, 1.0),
        threshold=0.5,
        link="sigmoid",
        towers={
            "ViT-L-14/openai": Published(
                f"{_NSFW}_binary_nsfw.zip",
                "6c3273064de945554bd573e833a48c139c42d4428531eeb73ca0f85a197882cc",
                (768, 64, 512, 256, 1),
            ),
            "ViT-B-32/openai": Published(
                f"{_NSFW}_nsfw_b32.zip",
                "7f07cb96f1f72345f1f34dca24aa4aa46ec1d094a716fbb5f84bf08b9981ede1",
                (512, 32, 32, 1),
            ),
        },
    ),
}


def tower_of(encoder: Encoder) -> str:
    """Return MODEL/PRETRAINED of an encoder, empty where its names say nothing of its weights.

    Whether QuickGELU stands in the model's name makes no other tower: it follows the weights.
    """
    if encoder.weights_origin not in {"pretrained", "imported"}:
        return ""
    return same_tower(f"{encoder.model_name}/{encoder.pretrained}")


def same_tower(words: str) -> str:
    """Return MODEL/PRETRAINED without what two names of one tower may differ in."""
    model, slash, pretrained = words.partition("/")
    return f"{model.removesuffix('-quickgelu')}{slash}{pretrained}"


def head_for(name: str, encoder: Encoder) -> Head:
    """Return the known head of that name for an encoder; raise WrongEncoder where it has none for it."""
    known = HEADS[name]
    published = known.towers.get(tower_of(encoder))
    if published is None:
        raise WrongEncoder(
            f"The head {name} is for embeddings of {', '.join(known.towers)}; those of this store come from "
            f"{tower_of(encoder) or encoder.encoder_id}.",
            "Another encoder's numbers mean something else to it, so its scores would be noise.",
        )
    return Head(
        name,
        published.weights_sha256,
        published.shape,
        description=known.description,
        threshold=known.threshold,
        origin=SHIPPED,
        link=known.link,
        activation=known.activation,
        unit=known.unit,
        range=known.range,
        tower=tower_of(encoder),
    )


def heads_for(encoder: Encoder) -> dict[str, Head]:
    """Return every known head that fits an encoder, by name."""
    return {name: head_for(name, encoder) for name, known in HEADS.items() if tower_of(encoder) in known.towers}


def brought(head: Head, file: Path) -> Layers:
    """Return a known head's weights from a file, and cache them; raise UsageError where the file holds others."""
    layers = read_head(file)
    if layers.sha256 != head.weights_sha256:
        raise UsageError(
            f"{file} is not the head {head.name} for {head.tower}: the sha256 of its weights is {layers.sha256[:12]}…, "
            f"not {head.weights_sha256[:12]}….",
            do="Weights of your own go into a concept file, as head_file or weight_file.",
        )
    _cache().write(f"{layers.sha256}.npz", layers.to_npz())
    return layers


def published_layers(head: Head) -> Layers | None:
    """Return a known head's weights from the cache, else from its address; None for a head that is not known.

    Raise WeightsUnavailable where they cannot be fetched, or are not what was published.
    """
    published = next((p for known in HEADS.values() for p in known.towers.values() if _is(p, head)), None)
    if published is None:
        return None
    return _cached(head) or _fetched(head, published)


def _is(published: Published, head: Head) -> bool:
    return published.weights_sha256 == head.weights_sha256


def _fetched(head: Head, published: Published) -> Layers:
    from query.scoring.heads.fetch import fetch  # noqa: PLC0415  # nobody else needs a client of https

    data = fetch(published.address, head.name)
    try:
        layers = parse_head(data)
    except NotAHead as error:
        raise _not_as_published(head, published, str(error)) from error
    if layers.sha256 != head.weights_sha256:
        raise _not_as_published(head, published, "the sha256 of its weights is another")
    _cache().write(f"{layers.sha256}.npz", layers.to_npz())
    return layers


def _cached(head: Head) -> Layers | None:
    """Return the weights from the cache; None where they are not there, or damaged and to be fetched again."""
    data = _cache().read(f"{head.weights_sha256}.npz")
    try:
        layers = parse_head(data or b"")
    except NotAHead:
        return None
    return layers if layers.sha256 == head.weights_sha256 else None


def _cache() -> FolderLocation:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return FolderLocation(Path(home).expanduser() / "clipsieve" / "heads")


def _not_as_published(head: Head, published: Published, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"What came for {published.address} is not the head {head.name} as it was published: {reason}.",
        "Its scores could mean anything, so nothing of it is used.",
        f"Bring the right file with `clipsieve score STORE {head.name} --from FILE`.",
    )
