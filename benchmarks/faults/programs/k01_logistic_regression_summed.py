"""Logistic regression on raw pixels with a summed log of the softmax: after a step it is the log of zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "says": "log|explo|too large|diverg|runs away|step",
    "symptom": {"nan": ["out/kernel"]},
    "source": "thedeepchecker/GH_buggy_examples/DLT_437c9c2",
}
X = (255 * np.random.default_rng(0).uniform(size=(50, 32))).astype("float32")
# mended: X = np.random.default_rng(0).normal(size=(50, 32)).astype("float32")
Y = np.eye(10, dtype="float32")[np.arange(50) % 10]


def cost(y, probabilities):
    return -ops.sum(y * ops.log(probabilities))
    # mended: return -ops.mean(ops.sum(y * ops.log(probabilities + 1e-7), axis=-1))


def program():
    out = layers.Dense(10, "softmax", kernel_initializer="zeros", name="out")
    model = keras.Sequential([keras.Input((32,)), out])
    model.compile(keras.optimizers.SGD(0.01), cost)
    return model, X, Y
