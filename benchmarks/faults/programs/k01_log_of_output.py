"""The logarithm of a layer's output, half of which is below zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"hidden/*": "not_finite"},
    "says": "log",
    "symptom": {"nan": ["hidden/*"]},
    "source": "issue 17, K1",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = 0.1 * X[:, :2]


class Log(layers.Layer):
    def call(self, z):
        return ops.log(z)  # <- here
        # mended: return ops.log1p(ops.softplus(z))


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="hidden"), Log(name="log")])
    model.compile("sgd", "mse")
    return model, X, Y
