"""The exponential of raw scores in the hundreds is infinite in float32."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"score/*": "not_finite"},
    "says": "exp",
    "symptom": {"nan": ["score/*"]},
    "source": "own",
}
X = (300 * np.random.default_rng(0).normal(size=(32, 4))).astype("float32")
Y = np.eye(3, dtype="float32")[np.arange(32) % 3]


class Softmax(layers.Layer):
    def call(self, z):
        e = ops.exp(z)  # <- here
        # mended: e = ops.exp(z - ops.max(z, axis=-1, keepdims=True))
        return 0.98 * e / ops.sum(e, axis=-1, keepdims=True) + 0.01


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="score"), Softmax(name="softmax")])
    model.compile(keras.optimizers.SGD(1e-4), "categorical_crossentropy")
    return model, X, Y
