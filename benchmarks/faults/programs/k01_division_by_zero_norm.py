"""Rows are divided by their length, and one row is empty."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"head/*": "not_finite"},
    "says": "divi|true_?divide|norm",
    "symptom": {"nan": ["head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1]
X[9] = 0.0


class Unit(layers.Layer):
    def call(self, x):
        length = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))
        return x / length  # <- here
        # mended: return x / ops.maximum(length, 1e-6)


def program():
    model = keras.Sequential([keras.Input((4,)), Unit(name="unit"), layers.Dense(1, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
