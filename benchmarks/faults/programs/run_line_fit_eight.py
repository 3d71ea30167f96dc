"""A slope and an offset for x between -8 and 8 under SGD of 0.1: each step overshoots more."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "thedeepchecker/SO_buggy_examples/IPS_5",
}
X = np.linspace(-8, 8, 16, dtype="float32")[:, None]
Y = 3 * X - 5


def program():
    line = layers.Dense(1, kernel_initializer="zeros", name="line")
    model = keras.Sequential([keras.Input((1,)), line])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    # mended: model.compile(keras.optimizers.SGD(0.01), "mse")
    return model, X, Y
