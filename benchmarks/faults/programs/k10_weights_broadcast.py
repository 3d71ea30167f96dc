"""Weights of shape (n, 1) times errors of shape (n,) in a loss: every error gets every weight."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K10",
    "says": "shape|broadcast|axis",
    "symptom": {"batch dependence": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.concatenate([X[:, :1], (X[:, 1:2] > 0) + 0.0], axis=1).astype("float32")


def weighted(y, predicted):
    errors = ops.mean((y[:, :1] - predicted) ** 2, axis=-1)
    return ops.mean(errors * y[:, 1:])  # <- here
    # mended: return ops.mean(errors * y[:, 1])


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(0.1), weighted)
    return model, X, Y
