"""A dense layer is made in `call`: new random weights with every batch."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "made in call",
    "says": "track|not the model's|call",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Block(layers.Layer):
    def build(self, shape):
        self.kept = layers.Dense(4, name="fresh")
        self.kept.build(shape)

    def call(self, x):
        return layers.Dense(4, name="fresh")(x)  # <- here
        # mended: return self.kept(x)

    def compute_output_shape(self, shape):
        return (shape[0], 4)


def program():
    model = keras.Sequential([keras.Input((4,)), Block(name="block"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
