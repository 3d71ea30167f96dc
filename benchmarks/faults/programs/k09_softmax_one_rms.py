"""Softmax over one unit is 1 whatever goes in; binary cross-entropy hides it behind a number."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "backends": ["torch", "jax"],
    "statuses": {"d0/*": "zero", "d1/*": "zero", "out/*": "zero"},
    "says": "softmax",
    "layer": "out",
    "symptom": {"still": ["d0/*", "d1/*", "out/*"]},
    "source": "deeplocalize/31880720",
}
X = np.random.default_rng(0).normal(size=(32, 12)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def program():
    hidden = [layers.Dense(10, activation="tanh", name=f"d{k}") for k in range(2)]
    out = layers.Dense(1, activation="softmax", name="out")
    # mended: out = layers.Dense(1, activation="sigmoid", name="out")
    model = keras.Sequential([keras.Input((12,)), *hidden, out])
    model.compile(keras.optimizers.RMSprop(), "binary_crossentropy")
    return model, X, Y
