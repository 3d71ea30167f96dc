"""Columns in the thousands go unscaled into a sigmoid: it is 0 or 1 to the last bit."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"first/*": "zero"},
    "says": "saturat|sigmoid|tanh",
    "layer": "first",
    "symptom": {"still": ["first/*"]},
    "source": "deeplocalize/39525358",
}
X = np.random.default_rng(0).uniform(4000, 9000, size=(32, 3)).astype("float32")
X[:, 1:] *= 0.05
Y = (X[:, :1] > 6500).astype("float32")
# mended: Y, X = (X[:, :1] > 6500).astype("float32"), (X - X.mean(axis=0)) / X.std(axis=0)


def program():
    start = keras.initializers.RandomUniform(0.05, 0.4, seed=1)
    first = layers.Dense(12, "sigmoid", kernel_initializer=start, name="first")
    model = keras.Sequential([keras.Input((3,)), first, layers.Dense(1, "sigmoid", name="out")])
    model.compile("adam", "binary_crossentropy")
    return model, X, Y
