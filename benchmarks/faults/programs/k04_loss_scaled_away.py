"""The loss is divided by the number of pixels twice: every step is a millionth of its weight."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K4",
    "says": "vanish|too small|tiny|update",
    "symptom": {"tiny": ["conv/kernel", "out/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(8, 16, 16, 1)).astype("float32")
Y = X[:, 1:-1, 1:-1] * 0.5


def per_pixel(y, predicted):
    return ops.mean((y - predicted) ** 2) / (16 * 16) ** 2
    # mended: return ops.mean((y - predicted) ** 2)


def program():
    conv = layers.Conv2D(4, 3, activation="tanh", name="conv")
    model = keras.Sequential([keras.Input((16, 16, 1)), conv, layers.Conv2D(1, 1, name="out")])
    model.compile("sgd", per_pixel)
    return model, X, Y
