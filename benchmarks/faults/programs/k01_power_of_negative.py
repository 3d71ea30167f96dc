"""A fractional power of numbers below zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"hidden/*": "not_finite", "head/*": "not_finite"},
    "says": "pow",
    "symptom": {"nan": ["hidden/*", "head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1]


class Gamma(layers.Layer):
    def call(self, z):
        return ops.power(z, 0.45)  # <- here
        # mended: return ops.power(ops.softplus(z), 0.45)


def program():
    parts = [layers.Dense(6, name="hidden"), Gamma(name="gamma"), layers.Dense(1, name="head")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
