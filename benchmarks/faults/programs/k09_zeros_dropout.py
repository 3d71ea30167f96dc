"""Dropout by hand multiplies by a mask of zeros, since `rate` was read as what to keep."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K9",
    "statuses": {"first/*": "zero", "out/kernel": "zero"},
    "says": "multipl|mask",
    "symptom": {"still": ["first/*", "out/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X[:, :1]
NOISE = np.random.default_rng(1).uniform(size=(8,)).astype("float32")


class Drop(layers.Layer):
    def call(self, h):
        kept = (NOISE < 0.0).astype("float32")
        # mended: kept = (NOISE < 0.8).astype("float32")
        return h * ops.convert_to_tensor(kept)  # <- here


def program():
    parts = [layers.Dense(8, "tanh", name="first"), Drop(name="drop"), layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((3,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
