"""A softmax by hand sums over axis 0, the samples of the batch."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K10",
    "says": "batch|axis|softmax|sum",
    "symptom": {"batch dependence": []},
    "source": "thedeepchecker/synthetic/baseCNN_wrong_soft",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]


class Softmax(layers.Layer):
    def call(self, z):
        e = ops.exp(z - ops.max(z, axis=-1, keepdims=True))
        return e / ops.sum(e, axis=0, keepdims=True)  # <- here
        # mended: return e / ops.sum(e, axis=-1, keepdims=True)


def program():
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), *parts, layers.Dense(4, name="out"), Softmax(name="soft")]
    )
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
