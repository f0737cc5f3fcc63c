"""How an embedding becomes a score: products with some vectors, then a link. Every kind of concept has this one shape.

    z = x @ rows.T + bias      (N, R) for N embeddings
    identity                   z[:, 0]
    sigmoid                    1 / (1 + exp(-z[:, 0]))
    softmax                    the sum of exp(z) over the first `positives` rows / that over all
    hidden layers              h = relu(z) @ weight.T + bias for each of them, then the link of h

Prompts pooled by their mean are one row: softmax(s * [p.x, n.x])[0] = sigmoid(s * (p - n).x). Layers without activation
are one row too. So these are a dot product each, and `sql/scoring/score_part.sql` says the same in SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from query.scoring.heads.layers import Dense, Layers
from query.scoring.kinds import Concept, Ensemble, Head, Prompt

Array = npt.NDArray[np.float32]
_Exact = npt.NDArray[np.float64]
Link: TypeAlias = Literal["identity", "sigmoid", "softmax"]


@dataclass(frozen=True, eq=False)
class Readout:
    """One concept for one encoder: what its scores are computed from."""

    rows: Array  # (R, D)
    bias: Array  # (R,)
    link: Link
    positives: int = 1  # of a softmax: so many rows, the first, are for it
    hidden: tuple[Dense, ...] = ()

    def finish(self, products: Array) -> Array:
        """Return (N,) float32 scores from (N, R) products, bias included."""
        for layer in self.hidden:
            products = np.maximum(products, 0) @ layer.weight.T + layer.bias
        if self.link == "softmax":
            shares = np.exp(products - products.max(axis=1, keepdims=True))
            return np.asarray(shares[:, : self.positives].sum(axis=1) / shares.sum(axis=1))
        first = products[:, 0].astype(np.float64)
        # tanh does not overflow, and in float64 it is exact enough for probabilities near 0.
        score = first if self.link == "identity" else (1 + np.tanh(first / 2)) / 2
        return score.astype(np.float32)

    def scores(self, embeddings: npt.NDArray[Any]) -> Array:
        """Return (N,) float32 scores of (N, D) embeddings."""
        return self.finish(embeddings.astype(np.float32) @ self.rows.T + self.bias)


def readout_of(concept: Concept, vectors: Mapping[str, Array], logit_scale: float, layers: Layers | None) -> Readout:
    """Return what scores of a concept are computed from.

    `vectors` holds the (D,) vector of every prompt, rows L2-normalised; `layers` the arrays of a head.
    """
    match concept:
        case Prompt():
            return _affine(vectors[concept.prompt].astype(np.float64), 0.0, "identity")
        case Ensemble(pool="mean"):
            difference = _mean(concept.positive, vectors) - _mean(concept.negative, vectors)
            return _affine(logit_scale * difference, 0.0, "sigmoid")
        case Ensemble():
            rows = logit_scale * np.stack([vectors[text].astype(np.float64) for text in concept.prompts])
            # Less their mean: a softmax stays the same, and what is left is small enough to be exact in float32.
            rows -= rows.mean(axis=0)
            return Readout(_float32(rows), np.zeros(len(rows), np.float32), "softmax", len(concept.positive))
        case Head():
            if layers is None:
                raise TypeError(f"The arrays of {concept.name} are missing.")
            return _of_layers(layers, concept)


def fold(layers: Sequence[Dense]) -> tuple[_Exact, _Exact]:
    """Return weight (out, in) and bias (out,) of layers without activation between them, as one affine map."""
    weight, bias = layers[0].weight.astype(np.float64), layers[0].bias.astype(np.float64)
    for layer in layers[1:]:
        weight, bias = layer.weight.astype(np.float64) @ weight, layer.weight.astype(np.float64) @ bias + layer.bias
    return weight, bias


def _of_layers(layers: Layers, head: Head) -> Readout:
    """Return the readout of a head, its standardisation folded into the first map."""
    through = layers.dense if head.activation == "none" else layers.dense[:1]
    weight, bias = fold(through)
    if layers.mean is not None and layers.variance is not None:
        weight = weight / np.sqrt(layers.variance.astype(np.float64))
        bias = bias - weight @ layers.mean
    return Readout(_float32(weight), _float32(bias), head.link, hidden=layers.dense[len(through) :])


def _affine(weight: _Exact, bias: float, link: Link) -> Readout:
    return Readout(_float32(weight[np.newaxis]), np.array([bias], np.float32), link)


def _mean(texts: tuple[str, ...], vectors: Mapping[str, Array]) -> _Exact:
    """Return the mean of the texts' vectors, normalised again, as CLIP's authors pool the prompts of a class.

    https://github.com/openai/CLIP/blob/main/notebooks/Prompt_Engineering_for_ImageNet.ipynb
    """
    mean = np.mean([vectors[text].astype(np.float64) for text in texts], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _float32(array: _Exact) -> Array:
    return np.ascontiguousarray(array, np.float32)
