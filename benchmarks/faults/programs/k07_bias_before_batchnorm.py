"""A bias in front of BatchNormalization: the mean is subtracted, and the bias with it."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K7",
    "statuses": {"a/bias": "trains"},
    "says": "bias|no effect|not depend|rounding",
    "severity": "note",
    "layer": "a",
    "symptom": {"no effect": ["a/bias"]},
    "source": "issue 17, K7",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    a = layers.Dense(8, name="a")
    # mended: a = layers.Dense(8, use_bias=False, name="a")
    model = keras.Sequential([keras.Input((4,)), a, layers.BatchNormalization(), layers.Dense(2, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
