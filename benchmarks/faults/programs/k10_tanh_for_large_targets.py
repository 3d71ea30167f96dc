"""Prices from 3 to 9 under a tanh."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "target|range|tanh",
    "symptom": {"targets out of reach": []},
    "layer": "out",
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = 6 + np.clip(X[:, :1], -3, 3)


def program():
    out = layers.Dense(1, "tanh", name="out")
    # mended: out = layers.Dense(1, name="out")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(16, "relu", name="hidden"), out])
    model.compile("adam", "mse")
    return model, X, Y
