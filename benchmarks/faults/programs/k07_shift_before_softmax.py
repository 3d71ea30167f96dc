"""One number added to all logits of a softmax changes nothing."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K7",
    "statuses": {"*shift/t": "trains"},
    "says": "no effect|not depend|rounding|shift",
    "severity": "note",
    "symptom": {"no effect": ["*shift/t"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = np.eye(3, dtype="float32")[np.arange(32) % 3]


class Shift(layers.Layer):
    def build(self, shape):
        self.t = self.add_weight(shape=(), initializer="ones", name="t")

    def call(self, z):
        return z + self.t
        # mended: return z * self.t


def program():
    parts = [layers.Dense(3, use_bias=False, name="scores"), Shift(name="shift"), layers.Softmax()]
    model = keras.Sequential([keras.Input((6,)), *parts])
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
