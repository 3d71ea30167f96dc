"""A curve over raw numbers up to 100 by two ReLU layers and SGD of 0.1: NaN within some steps."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "deeplocalize/48934338",
}
X = np.linspace(1, 100, 40, dtype="float32")[:, None]
Y = 50 * np.sin(X / 15) + X
# mended: X, Y = (X - 50) / 30, (50 * np.sin(X / 15) + X) / 50


def program():
    parts = [layers.Dense(50, "relu", name="first"), layers.Dense(30, "relu", name="second")]
    model = keras.Sequential([keras.Input((1,)), *parts, layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    # mended: model.compile(keras.optimizers.SGD(0.02), "mse")
    return model, X, Y
