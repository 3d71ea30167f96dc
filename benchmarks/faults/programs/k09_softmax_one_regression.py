"""A regression of miles per gallon whose last activation is softmax over its one unit."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/kernel": "zero", "d1/kernel": "zero", "out/*": "zero"},
    "says": "softmax",
    "layer": "out",
    "symptom": {"blind": ["d0/kernel", "d1/kernel", "out/kernel"]},
    "source": "thedeepchecker/synthetic/regrNN_wrong_act",
}
X = np.random.default_rng(0).normal(size=(40, 9)).astype("float32")
Y = X[:, :1] - 0.5 * X[:, 1:2]


def program():
    l2 = keras.regularizers.L2(1e-5)
    parts = [layers.Dense(16, "relu", kernel_regularizer=l2, name=f"d{k}") for k in range(2)]
    out = layers.Dense(1, "softmax", kernel_regularizer=l2, name="out")
    # mended: out = layers.Dense(1, kernel_regularizer=l2, name="out")
    model = keras.Sequential([keras.Input((9,)), *parts, out])
    model.compile(keras.optimizers.Adam(0.001), "mse")
    return model, X, Y
