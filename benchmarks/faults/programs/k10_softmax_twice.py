"""Softmax as activation, and a softmax layer behind it."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "softmax|twice",
    "symptom": {"loss has a floor": []},
    "layer": "prob",
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
Y = np.arange(24) % 3


def program():
    parts = [layers.Dense(3, "softmax", name="out"), layers.Softmax(name="prob")]
    # mended: parts = [layers.Dense(3, name="out"), layers.Softmax(name="prob")]
    model = keras.Sequential([keras.Input((6,)), *parts])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model, X, Y
