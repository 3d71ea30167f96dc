"""A layer rounds down to whole levels."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"code/*": "cut"},
    "reason": ["not_differentiable"],
    "symptom": {"still": ["code/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Levels(layers.Layer):
    def call(self, z):
        return ops.floor(4 * z) / 4  # <- here
        # mended: return z + ops.stop_gradient(ops.floor(4 * z) / 4 - z)


def program():
    parts = [layers.Dense(6, name="code"), Levels(name="levels"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
