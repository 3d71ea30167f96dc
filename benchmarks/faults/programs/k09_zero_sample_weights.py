"""A mask for the loss is turned round: it keeps what should be left out, and that is nothing."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K9",
    "statuses": {"first/*": "zero", "out/*": "zero"},
    "says": "multipl|mask|weight",
    "symptom": {"still": ["first/*", "out/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X[:, :1] + 3.0


def masked(y, predicted):
    keep = ops.cast(y < -100.0, "float32")
    # mended: keep = ops.cast(y > -100.0, "float32")
    return ops.sum(keep * (y - predicted) ** 2) / 16  # <- here


def program():
    parts = [layers.Dense(4, "tanh", name="first"), layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((3,)), *parts])
    model.compile("sgd", masked)
    return model, X, Y
