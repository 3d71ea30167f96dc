"""A model of one's own makes a position embedding in every call."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "made in call",
    "says": "track|not the model's|call",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 5, 3)).astype("float32")
Y = X.mean(axis=1)


class Encoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.positions = layers.Embedding(5, 3, name="positions")
        self.head = layers.Dense(3, name="head")

    def build(self, shape):
        self.positions.build(None)
        self.head.build((None, 3))

    def call(self, x):
        positions = layers.Embedding(5, 3, name="positions")(ops.arange(5))  # <- here
        # mended: positions = self.positions(ops.arange(5))
        return self.head(ops.mean(ops.tanh(x + 9 * positions), axis=1))


def program():
    model = Encoder()
    model.build((None, 5, 3))
    model.compile("sgd", "mse")
    return model, X, Y
