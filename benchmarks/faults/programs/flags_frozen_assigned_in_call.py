"""A frozen layer writes to its own weight in every call."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "flags",
    "statuses": {"*centre/shift": "leaks"},
    "symptom": {"moves": ["*centre/shift"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(2, 1, size=(32, 4)).astype("float32")
Y = X[:, :2]


class Centre(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(shape=(4,), initializer="zeros", name="shift")

    def call(self, x, training=None):
        if training:
            # mended: if training and self.trainable:
            self.shift.assign(0.9 * self.shift + 0.1 * ops.mean(x, axis=0))  # <- here
        return x - self.shift


def program():
    model = keras.Sequential(
        [keras.Input((4,)), Centre(trainable=False, name="centre"), layers.Dense(2, name="head")]
    )
    model.compile("sgd", "mse")
    return model, X, Y
