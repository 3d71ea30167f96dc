"""Standardizing over a group whose numbers are all equal: the root of a zero variance."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "backends": ["torch", "jax"],
    "statuses": {"embed/*": "not_finite"},
    "says": "sqrt|std|divi",
    "symptom": {"nan": ["embed/*"]},
    "source": "pytorch/pytorch#4320",
}
X = np.arange(8)[:, None]
Y = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


class Standardize(layers.Layer):
    def call(self, z):
        spread = ops.sqrt(ops.var(z, axis=-1, keepdims=True))  # <- here
        # mended: spread = ops.sqrt(ops.var(z, axis=-1, keepdims=True) + 1e-3)
        return z / (spread + 1e-3)


def program():
    start = "zeros"
    # mended: start = "uniform"
    table = layers.Embedding(8, 4, embeddings_initializer=start, name="embed")
    model = keras.Sequential(
        [keras.Input((1,), dtype="int32"), table, layers.Flatten(), Standardize(name="std")]
    )
    model.compile("sgd", "mse")
    return model, X, Y
