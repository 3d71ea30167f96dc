"""A tanh net whose one output unit goes through a softmax layer of its own."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"in/*": "zero", "mid/*": "zero", "last/*": "zero"},
    "says": "softmax",
    "layer": "prob",
    "symptom": {"still": ["in/*", "mid/*", "last/*"]},
    "source": "deeplocalize/33969059",
}
X = np.random.default_rng(0).normal(size=(30, 5)).astype("float32")
Y = (X[:, :1] * X[:, 1:2] > 0).astype("float32")


def program():
    prob = layers.Activation("softmax", name="prob")
    # mended: prob = layers.Activation("sigmoid", name="prob")
    parts = [
        layers.Dense(5, "tanh", name="in"),
        layers.Dense(2, "tanh", name="mid"),
        layers.Dense(1, name="last"),
    ]
    model = keras.Sequential([keras.Input((5,)), *parts, prob])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), "mse")
    return model, X, Y
