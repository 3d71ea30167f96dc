"""A net for cats and dogs: convolutions, a dense layer, and softmax over one unit."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "backends": ["torch", "jax"],
    "statuses": {"conv/kernel": "zero", "dense/kernel": "zero", "out/*": "zero"},
    "says": "softmax",
    "layer": "out",
    "symptom": {"still": ["conv/*", "dense/*", "out/*"]},
    "source": "deepfd/42800203",
}
X = np.random.default_rng(0).uniform(size=(16, 10, 10, 3)).astype("float32")
Y = np.array([0, 1] * 8, "float32")[:, None]


def program():
    out = layers.Dense(1, activation="softmax", name="out")
    # mended: out = layers.Dense(1, activation="sigmoid", name="out")
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    parts = [layers.MaxPooling2D(), layers.Flatten(), layers.Dense(12, "relu", name="dense"), out]
    model = keras.Sequential([keras.Input((10, 10, 3)), conv, *parts])
    model.compile("rmsprop", "binary_crossentropy")
    return model, X, Y
