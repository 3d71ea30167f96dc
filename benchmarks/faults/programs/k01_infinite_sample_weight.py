"""Class weights as one over a count, and one class has none: the weight of a sample is infinite."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"head/*": "not_finite"},
    "says": "multipl|inf|weight",
    "symptom": {"nan": ["head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = np.eye(3, dtype="float32")[np.arange(24) % 3]
COUNTS = np.array([8, 16, 0], "float32")
# mended: COUNTS = np.array([8, 8, 8], "float32")
with np.errstate(divide="ignore"):
    WEIGHTS = 1 / COUNTS


def weighted(y, predicted):
    return -ops.mean(ops.sum(y * WEIGHTS * ops.log(predicted + 1e-6), axis=-1))  # <- here


def program():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation="softmax", name="head")])
    model.compile("sgd", weighted)
    return model, X, Y
