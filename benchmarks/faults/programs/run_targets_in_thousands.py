"""Targets in the thousands under squared errors: the first step throws every weight away."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "thedeepchecker/synthetic/regrNN_over_scaled_outputs",
}
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = 20000 + 5000 * X[:, :1]
# mended: Y = X[:, :1]


def program():
    parts = [layers.Dense(16, "relu", kernel_initializer="he_normal", name=f"d{k}") for k in range(2)]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
