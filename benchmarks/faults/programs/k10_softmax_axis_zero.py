"""Keras's own softmax with axis=0."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K10",
    "says": "batch|axis|softmax",
    "symptom": {"batch dependence": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
Y = np.arange(24) % 3


class Probabilities(layers.Layer):
    def call(self, z):
        return ops.softmax(z, axis=0)  # <- here
        # mended: return ops.softmax(z, axis=-1)


def program():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, name="out"), Probabilities(name="prob")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model, X, Y
