"""Cross-entropy by hand takes the logarithm of a softmax that underflows to zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"out/*": "not_finite"},
    "says": "log",
    "symptom": {"nan": ["out/*"]},
    "source": "thedeepchecker/SO_buggy_examples/IPS_14",
}
X = np.random.default_rng(0).uniform(size=(32, 64)).astype("float32")
Y = np.eye(10, dtype="float32")[np.arange(32) % 10]


def cross_entropy(y, logits):
    return -ops.sum(y * ops.log(ops.softmax(logits)))  # <- here
    # mended: return -ops.sum(y * ops.log_softmax(logits)) / 32


def program():
    wide = keras.initializers.RandomNormal(stddev=30.0)
    # mended: wide = keras.initializers.GlorotNormal()
    model = keras.Sequential([keras.Input((64,)), layers.Dense(10, kernel_initializer=wide, name="out")])
    model.compile(keras.optimizers.SGD(0.01), cross_entropy)
    return model, X, Y
