"""Outputs are clipped to a range in which none of them lies."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K9",
    "statuses": {"out/*": "zero"},
    "says": "clip",
    "symptom": {"still": ["out/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = 240 + 3 * X[:, :1]


class Clip(layers.Layer):
    def call(self, z):
        return ops.clip(z, 200.0, 255.0)  # <- here
        # mended: return ops.clip(240.0 + z, 200.0, 255.0)


def program():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="out"), Clip(name="clip")])
    model.compile("sgd", "mse")
    return model, X, Y
