"""A column of the targets, (n,), minus outputs of shape (n, 1) in a loss of one's own: n by n errors."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K10",
    "says": "shape|broadcast|\\(n|axis",
    "symptom": {"batch dependence": []},
    "source": "thedeepchecker/synthetic/regrNN_wrong_loss2",
}
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.stack([X[:, 0] - 2 * X[:, 1], np.ones(40, "float32")], axis=1)


def squares(y, predicted):
    return ops.mean((y[:, 0] - predicted) ** 2)  # <- here
    # mended: return ops.mean((y[:, :1] - predicted) ** 2)


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(0.1), squares)
    return model, X, Y
