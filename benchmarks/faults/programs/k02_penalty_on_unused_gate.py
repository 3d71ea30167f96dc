"""A gate is made and penalized, and `call` never reads it."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K2",
    "statuses": {"*gated/gate": "unused"},
    "symptom": {"blind": ["*gated/gate"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Gated(layers.Layer):
    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1],), initializer="ones", regularizer="l2", name="gate")

    def call(self, x):
        return x
        # mended: return x * self.gate


def program():
    model = keras.Sequential([keras.Input((4,)), Gated(name="gated"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
