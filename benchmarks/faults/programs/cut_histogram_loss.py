"""A loss compares counts of outputs per bin: counting is a comparison."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"out/*": "cut"},
    "reason": ["integer"],
    "symptom": {"still|raises": ["out/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1]
EDGES = np.linspace(-2, 2, 9, dtype="float32")


def histogram(y, predicted):
    counts = ops.mean(ops.cast(predicted > ops.convert_to_tensor(EDGES), "float32"), axis=0)  # <- here
    # mended: counts = ops.mean(ops.sigmoid(10 * (predicted - ops.convert_to_tensor(EDGES))), axis=0)
    return ops.sum((counts - ops.mean(ops.cast(y > ops.convert_to_tensor(EDGES), "float32"), axis=0)) ** 2)


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")])
    model.compile("sgd", histogram)
    return model, X, Y
