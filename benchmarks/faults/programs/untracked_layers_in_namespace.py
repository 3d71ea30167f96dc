"""Layers are kept in a namespace, where Keras does not look."""

from types import SimpleNamespace

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "untracked",
    "statuses": {"*gate/kernel": "untracked"},
    "says": "track|not the model's",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Gated(layers.Layer):
    def build(self, shape):
        self.parts = SimpleNamespace(gate=layers.Dense(4, "sigmoid", name="gate"))
        # mended: self.gate = layers.Dense(4, "sigmoid", name="gate")
        # mended: self.parts = SimpleNamespace(gate=self.gate)
        self.parts.gate.build(shape)

    def call(self, x):
        return x * self.parts.gate(x)


def program():
    model = keras.Sequential([keras.Input((4,)), Gated(name="gated"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
