"""A column that counts to 100 and a column of ones under SGD of 0.5."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "thedeepchecker/SO_buggy_examples/IPS_15",
}
X = np.stack([np.arange(100), np.ones(100)], axis=1).astype("float32")
Y = X @ np.array([[2], [4]], "float32") + 10 * np.random.default_rng(0).random((100, 1)).astype("float32")


def half_mean(y, predicted):
    return ops.sum((y - predicted) ** 2) / (2 * 100)


def program():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False, name="line")])
    model.compile(keras.optimizers.SGD(0.5), half_mean)
    # mended: model.compile(keras.optimizers.SGD(0.0002), half_mean)
    return model, X, Y
