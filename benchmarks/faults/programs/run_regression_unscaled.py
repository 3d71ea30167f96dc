"""Areas and prices in the thousands, none scaled, in front of ReLU layers and SGD."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "deepfd/47932589",
}
X = np.random.default_rng(0).uniform(500, 4000, size=(32, 2)).astype("float32")
Y = (X @ np.array([[150.0], [20.0]])).astype("float32")
# mended: Y = ((X - 2000) @ np.array([[150.0], [20.0]]) / 150000).astype("float32")
# mended: X = (X - 2000) / 1000


def program():
    parts = [layers.Dense(8, "relu", name="first"), layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((2,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
