"""A learned scale of a whole sample in front of LayerNormalization, which takes every scale out."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K7",
    "statuses": {"*scale/s": "trains"},
    "says": "no effect|not depend|rounding|scale",
    "severity": "note",
    "symptom": {"no effect": ["*scale/s"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = X[:, :2]


class Scale(layers.Layer):
    def build(self, shape):
        self.s = self.add_weight(shape=(), initializer="ones", name="s")

    def call(self, x):
        return x * self.s
        # mended: return x * (1 + self.s * x)


def program():
    norm = layers.LayerNormalization(epsilon=1e-9, name="norm")
    model = keras.Sequential([keras.Input((6,)), Scale(name="scale"), norm, layers.Dense(2, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
