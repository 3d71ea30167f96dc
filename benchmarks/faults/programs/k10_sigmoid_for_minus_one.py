"""Targets between -1 and 1 under a sigmoid."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "target|range|sigmoid",
    "symptom": {"targets out of reach": []},
    "layer": "out",
    "source": "thedeepchecker/synthetic/regrNN_inapp_act",
}
X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = np.tanh(X[:, :1])


def program():
    out = layers.Dense(1, "sigmoid", name="out")
    # mended: out = layers.Dense(1, "tanh", name="out")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(16, "relu", name="hidden"), out])
    model.compile("adam", "mse")
    return model, X, Y
