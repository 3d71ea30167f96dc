"""The gradient of a mean over many numbers is below the smallest float16."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K9",
    "statuses": {"w/kernel": "zero"},
    "says": "float16|half|underflow",
    "symptom": {"still": ["w/kernel"]},
    "source": "mixed precision (Micikevicius and others, 2018)",
}
X = (1e-3 * np.random.default_rng(0).normal(size=(64, 8))).astype("float32")
Y = np.zeros((64, 64), "float32")


def tiny(y, predicted):
    return ops.mean(ops.square(ops.cast(predicted, "float16") - ops.cast(y, "float16")))


def program():
    w = layers.Dense(64, use_bias=False, dtype="float16", name="w")
    # mended: w = layers.Dense(64, use_bias=False, dtype="float32", name="w")
    model = keras.Sequential([keras.Input((8,)), w])
    model.compile(keras.optimizers.SGD(1.0), tiny)
    # mended: model.compile(keras.optimizers.SGD(1.0), "mse")
    return model, X, Y
