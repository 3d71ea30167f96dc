"""Attention whose mask hides every step of one sample: -inf in a whole row of a softmax."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"value/*": "not_finite"},
    "says": "softmax",
    "symptom": {"nan": ["value/*"]},
    "source": "pytorch/pytorch#25110",
}
X = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
X[2] = 0.0
Y = X[:, 0]


class Attend(layers.Layer):
    def call(self, scores, values, x):
        seen = ops.any(ops.not_equal(x, 0.0), axis=-1, keepdims=True)
        hidden = -np.inf
        # mended: hidden = -1e9
        weights = ops.softmax(ops.where(seen, scores, hidden), axis=1)  # <- here
        return ops.sum(weights * values, axis=1)


def program():
    x = keras.Input((4, 3))
    scores, values = layers.Dense(1, name="score")(x), layers.Dense(3, name="value")(x)
    model = keras.Model(x, Attend(name="attend")(scores, values, x))
    model.compile("sgd", "mse")
    return model, X, Y
