"""A residual branch is scaled by a zero, and its last kernel is zero as well: neither ever moves."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K3",
    "statuses": {"*block/alpha": "zero", "*out/kernel": "zero"},
    "symptom": {"still": ["*block/alpha", "*out/kernel"]},
    "source": "ReZero (Bachlechner and others, 2020), done twice",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.sin(X[:, :2])


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(8, activation="tanh", name="hidden")
        self.out = layers.Dense(4, kernel_initializer="zeros", name="out")
        # mended: self.out = layers.Dense(4, name="out")

    def build(self, shape):
        self.hidden.build(shape)
        self.out.build((shape[0], 8))
        self.alpha = self.add_weight(shape=(), initializer="zeros", name="alpha")

    def call(self, x):
        return x + self.alpha * self.out(self.hidden(x))  # <- here


def program():
    model = keras.Sequential([keras.Input((4,)), Block(name="block"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
