"""Every unit is off for every sample, and the decay of the kernel looks like training."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K2",
    "statuses": {"first/kernel": "zero", "first/bias": "zero"},
    "says": "relu|off for every|dead",
    "layer": "first",
    "symptom": {"blind": ["first/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).uniform(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    bias = keras.initializers.Constant(-10.0)
    # mended: bias = keras.initializers.Constant(0.1)
    first = layers.Dense(8, "relu", bias_initializer=bias, kernel_regularizer="l2", name="first")
    model = keras.Sequential([keras.Input((4,)), first, layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
