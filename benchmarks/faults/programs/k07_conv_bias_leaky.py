"""Convolutions with biases, BatchNormalization and LeakyReLU."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K7",
    "statuses": {"conv/bias": "trains"},
    "says": "bias|no effect|not depend|rounding",
    "severity": "note",
    "layer": "conv",
    "symptom": {"no effect": ["conv/bias"]},
    "source": "neuralint/SO_45378493",
}
X = np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype("float32")
Y = np.array([0, 1] * 4, "float32")[:, None]


def program():
    conv = layers.Conv2D(4, 3, name="conv")
    # mended: conv = layers.Conv2D(4, 3, use_bias=False, name="conv")
    parts = [
        layers.BatchNormalization(),
        layers.LeakyReLU(),
        layers.Flatten(),
        layers.Dense(1, "sigmoid", name="out"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), conv, *parts])
    model.compile("adam", "binary_crossentropy")
    return model, X, Y
