"""A line too few: the second branch's result overwrites that of the first."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "no route",
    "statuses": {"*left/*": "unused"},
    "symptom": {"still": ["*left/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Branches(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.left, self.right = layers.Dense(3, name="left"), layers.Dense(3, name="right")

    def build(self, shape):
        self.left.build(shape)
        self.right.build(shape)

    def call(self, x):
        h = self.left(x)
        h = self.right(x)
        # mended: h = h + self.right(x)
        return h


def program():
    model = keras.Sequential([keras.Input((4,)), Branches(name="branches"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
