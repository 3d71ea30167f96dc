"""The length of the error as loss: its derivative at an error of zero is NaN, and some errors are zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"head/kernel": "not_finite"},
    "says": "sqrt|norm",
    "symptom": {"nan": ["head/kernel"]},
    "source": "jax-ml/jax#3058",
}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
X[4] = 0.0
Y = X[:, :2] * 2.0


def distance(y, predicted):
    squares = ops.sum(ops.square(y - predicted), axis=-1)
    return ops.mean(ops.sqrt(squares))  # <- here
    # mended: return ops.mean(ops.sqrt(squares + 1e-8))


def program():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False, name="head")])
    model.compile("sgd", distance)
    return model, X, Y
