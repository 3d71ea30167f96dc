"""Two ReLU layers feed one unit under softmax, trained by Adam."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "backends": ["torch", "jax"],
    "statuses": {"wide/kernel": "zero", "narrow/kernel": "zero", "out/*": "zero"},
    "says": "softmax",
    "layer": "out",
    "symptom": {"still": ["wide/*", "narrow/*", "out/*"]},
    "source": "deeplocalize/45337371",
}
X = np.random.default_rng(0).normal(size=(32, 7)).astype("float32")
Y = (X.sum(axis=1, keepdims=True) > 0).astype("float32")


def program():
    parts = [layers.Dense(24, "relu", name="wide"), layers.Dense(20, "relu", name="narrow")]
    out = layers.Dense(1, "softmax", name="out")
    # mended: out = layers.Dense(1, "sigmoid", name="out")
    model = keras.Sequential([keras.Input((7,)), *parts, out])
    model.compile("adam", "binary_crossentropy")
    return model, X, Y
