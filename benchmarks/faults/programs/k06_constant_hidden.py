"""Every weight of the hidden layer is 0.01: its units are one unit, eight times."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "layer": "a",
    "symptom": {"equal": ["a/kernel"]},
    "source": "issue 17, K6",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    start = keras.initializers.Constant(0.01)
    # mended: start = keras.initializers.GlorotUniform()
    a = layers.Dense(8, activation="relu", kernel_initializer=start, name="a")
    model = keras.Sequential([keras.Input((4,)), a, layers.Dense(2, kernel_initializer=start, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
