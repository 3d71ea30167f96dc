"""A penalty moves a kernel that no gradient of the loss reaches."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"a/kernel": "cut"},
    "reason": ["stop_gradient"],
    "symptom": {"blind": ["a/kernel"]},
    "source": "issue 17, K2",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Stop(layers.Layer):
    def call(self, z):
        return ops.stop_gradient(z)  # <- here
        # mended: return 1.0 * z


def program():
    a = layers.Dense(4, use_bias=False, kernel_regularizer="l2", name="a")
    model = keras.Sequential([keras.Input((4,)), a, Stop(name="stop"), layers.Dense(2, name="h")])
    model.compile("sgd", "mse")
    return model, X, Y
