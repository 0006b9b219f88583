"""The sentence encoder once more, in plain numpy and straight from the paper, to check the ONNX graph against."""

from collections.abc import Mapping, Sequence
from math import erf, sqrt

import numpy as np

Array = np.ndarray


def layer_norm(x: Array, scale: Array, shift: Array, epsilon: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon) * scale + shift)


def gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2))))


def softmax(x: Array) -> Array:
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def encode(weights: Mapping[str, Array], ids: Sequence[int], *, layers: int, heads: int, epsilon: float) -> Array:
    """Embed one text: shape (hidden,), float64, L2 norm 1."""

    def w(name: str) -> Array:
        return np.asarray(weights[name], dtype=np.float64)

    def dense(x: Array, name: str) -> Array:
        return np.asarray(x @ w(f"{name}.weight").T + w(f"{name}.bias"))

    def norm(x: Array, name: str) -> Array:
        return layer_norm(x, w(f"{name}.weight"), w(f"{name}.bias"), epsilon)

    x = w("embeddings.word_embeddings.weight")[list(ids)]
    x = x + w("embeddings.position_embeddings.weight")[: len(ids)] + w("embeddings.token_type_embeddings.weight")[0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(layers):
        name = f"encoder.layer.{i}"
        query, key, value = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        weights_of_tokens = softmax(query @ key.transpose(0, 2, 1) / sqrt(query.shape[-1]))
        attended = (weights_of_tokens @ value).transpose(1, 0, 2).reshape(x.shape)
        x = norm(x + dense(attended, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        wide = gelu(dense(x, f"{name}.intermediate.dense"))
        x = norm(x + dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
