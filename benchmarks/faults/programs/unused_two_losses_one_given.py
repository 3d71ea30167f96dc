"""Two outputs, and a loss for the first alone."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "no route",
    "statuses": {"side/*": "unused"},
    "symptom": {"still": ["side/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = {"main": X[:, :2], "side": X[:, 2:]}


def program():
    x = keras.Input((4,))
    h = layers.Dense(6, activation="tanh", name="trunk")(x)
    outputs = {"main": layers.Dense(2, name="main")(h), "side": layers.Dense(2, name="side")(h)}
    model = keras.Model(x, outputs)
    model.compile("sgd", {"main": "mse", "side": None})
    # mended: model.compile("sgd", {"main": "mse", "side": "mse"})
    return model, X, Y
