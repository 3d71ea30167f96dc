"""Inputs in the hundreds push every unit of a ReLU6 past six, where it is flat."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"first/*": "zero"},
    "says": "relu6|saturat",
    "layer": "first",
    "symptom": {"still": ["first/*"]},
    "source": "own",
}
X = np.random.default_rng(0).uniform(200, 400, size=(16, 3)).astype("float32")
# mended: X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.arange(16, dtype="float32")[:, None] / 16


def program():
    start = keras.initializers.RandomUniform(0.1, 0.5, seed=1)
    first = layers.Dense(8, "relu6", kernel_initializer=start, name="first")
    model = keras.Sequential([keras.Input((3,)), first, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
