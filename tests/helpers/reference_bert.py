"""BERT written a second time, in NumPy only, to compare the Keras encoder with.

It reads the checkpoint's own names and follows the published equations, one text at a time and
without padding, so that it shares neither code nor the treatment of masks with the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import erf

Array = np.ndarray[Any, np.dtype[np.float64]]


def sentence_embedding(
    checkpoint: Mapping[str, Any], pieces: list[int], *, heads: int = 12, epsilon: float = 1e-12
) -> Array:
    """Mean of the last hidden states, at unit length, of one text given as unpadded word pieces."""
    weights = {name: np.asarray(value, np.float64) for name, value in checkpoint.items()}

    def dense(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attention(x: Array, name: str) -> Array:
        queries, keys, values = (
            np.split(dense(x, f"{name}.self.{part}"), heads, axis=-1) for part in ("query", "key", "value")
        )
        mixed = []
        for query, key, value in zip(queries, keys, values, strict=True):
            scores = query @ key.T / np.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed.append(shares / shares.sum(axis=-1, keepdims=True) @ value)
        return dense(np.concatenate(mixed, axis=-1), f"{name}.output.dense")

    x = (
        weights["embeddings.word_embeddings.weight"][pieces]
        + weights["embeddings.position_embeddings.weight"][: len(pieces)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    blocks = sum(name.endswith("attention.self.query.weight") for name in weights)
    for block in range(blocks):
        name = f"encoder.layer.{block}"
        x = norm(x + attention(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
        wide = dense(x, f"{name}.intermediate.dense")
        wide = wide * (1 + erf(wide / np.sqrt(2))) / 2
        x = norm(x + dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))
