"""Pixels that are already between 0 and 1 are divided by 255 again: the first kernel hardly sees them."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|too small|tiny|update|input",
    "symptom": {"tiny": ["conv/kernel"]},
    "source": "thedeepchecker/synthetic/baseCNN_dbl_norm",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]
X = X / 255 / 255
# mended: X = X - 0.5


def program():
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    parts = [layers.MaxPooling2D(), layers.Flatten(), layers.Dense(4, "softmax", name="out")]
    model = keras.Sequential([keras.Input((8, 8, 1)), conv, *parts])
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
