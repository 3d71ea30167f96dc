"""The accuracy is taken for the loss: a comparison has no derivative."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"hidden/*": "cut", "out/*": "cut"},
    "reason": ["integer"],
    "symptom": {"still|raises": ["hidden/*", "out/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def wrong_answers(y, predicted):
    right = ops.equal(y, ops.cast(predicted > 0.5, "float32"))  # <- here
    # mended: right = 1.0 - ops.abs(y - predicted)
    return 1.0 - ops.mean(ops.cast(right, "float32"))


def program():
    parts = [layers.Dense(6, "tanh", name="hidden"), layers.Dense(1, "sigmoid", name="out")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", wrong_answers)
    return model, X, Y
