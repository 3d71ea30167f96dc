"""Keras's Discretization takes a layer's output apart into bins, and an embedding looks them up."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "cut",
    "statuses": {"age/*": "cut"},
    "layer": "bins",
    "symptom": {"still": ["age/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Bins(layers.Layer):
    def call(self, z):
        return keras.ops.digitize(z, np.linspace(-1, 1, 7))  # <- here


def program():
    x = keras.Input((4,))
    age = layers.Dense(1, name="age")(x)
    vector = layers.Flatten()(layers.Embedding(9, 3, name="table")(Bins(name="bins")(age)))
    # mended: vector = layers.Dense(3, "tanh", name="table")(age)
    model = keras.Model(x, layers.Dense(2, name="head")(vector))
    model.compile("sgd", "mse")
    return model, X, Y
