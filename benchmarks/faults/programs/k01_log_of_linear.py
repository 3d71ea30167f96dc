"""A cross-entropy by hand takes logs of a matrix product: the loss is NaN, the gradient finite and wrong."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "says": "log",
    "symptom": {"loss not finite": []},
    "source": "thedeepchecker/SO_buggy_examples/IPS_7",
}
X = np.random.default_rng(0).uniform(size=(32, 24)).astype("float32")
Y = np.eye(5, dtype="float32")[np.arange(32) % 5]


def cross_entropy(y, p):
    return ops.mean(ops.sum(-y * ops.log(p) - (1 - y) * ops.log(1 - p), axis=1))  # <- here
    # mended: return ops.mean(ops.sum(ops.softplus(p) - y * p, axis=1))


def program():
    normal = keras.initializers.RandomNormal(stddev=1.0)
    # mended: normal = keras.initializers.GlorotNormal()
    h1 = layers.Dense(16, "sigmoid", use_bias=False, kernel_initializer=normal, name="h1")
    out = layers.Dense(5, use_bias=False, kernel_initializer=normal, name="out")
    model = keras.Sequential([keras.Input((24,)), h1, out])
    model.compile(keras.optimizers.SGD(0.05), cross_entropy)
    return model, X, Y
