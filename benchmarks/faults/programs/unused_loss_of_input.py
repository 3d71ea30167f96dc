"""A reconstruction loss compares the input with itself."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "no route",
    "statuses": {"encoder/*": "unused", "decoder/*": "unused"},
    "symptom": {"still|raises": ["encoder/*", "decoder/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def reconstruction(x, predicted):
    return ops.mean((x - x) ** 2)
    # mended: return ops.mean((x - predicted) ** 2)


def program():
    parts = [layers.Dense(2, name="encoder"), layers.Dense(4, name="decoder")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", reconstruction)
    return model, X, X
