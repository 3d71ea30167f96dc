"""A line is fitted to raw numbers up to 50 by SGD of 0.01: it runs away."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "deeplocalize/58609115",
}
X = np.arange(1, 51, dtype="float32")[:, None]
Y = 2 * X + 30


def program():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="line")])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    # mended: model.compile(keras.optimizers.SGD(0.0002), "mse")
    return model, X, Y
