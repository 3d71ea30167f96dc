"""Features are scaled to one and then divided by their maximum once more by mistake: all near zero."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|too small|tiny|update|input",
    "symptom": {"tiny": ["first/kernel"]},
    "source": "thedeepchecker/synthetic/regrNN_dbl_norm",
}
RAW = np.random.default_rng(0).uniform(500, 5000, size=(32, 6))
Y = (RAW[:, :1] / 5000).astype("float32")
X = ((RAW / 5000) / 5000 / 5).astype("float32")
# mended: X = ((RAW - RAW.mean(axis=0)) / RAW.std(axis=0)).astype("float32")


def program():
    first = layers.Dense(16, "relu", kernel_initializer="he_normal", name="first")
    model = keras.Sequential([keras.Input((6,)), first, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
