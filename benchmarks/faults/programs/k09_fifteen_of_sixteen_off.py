"""Fifteen of sixteen units are off for every sample: the layer has a width of one."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "says": "15 of 16|off for every|dead",
    "layer": "first",
    "symptom": {"still columns": ["first/kernel"]},
    "source": "issue 17, K9",
}
X = np.random.default_rng(0).uniform(size=(32, 4)).astype("float32")
Y = X[:, :1] * X[:, 1:2]


def program():
    shift = np.array([1.0] + 15 * [-30.0], "float32")
    # mended: shift = np.full(16, 0.1, "float32")
    first = layers.Dense(16, "relu", name="first")
    model = keras.Sequential([keras.Input((4,)), first, layers.Dense(1, name="out")])
    first.bias.assign(shift)
    model.compile("sgd", "mse")
    return model, X, Y
