"""AdamW decays a kernel that the loss never sees."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"features/*": "cut"},
    "reason": ["stop_gradient"],
    "symptom": {"blind|still": ["features/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Frozen(layers.Layer):
    def call(self, z):
        return ops.stop_gradient(z)  # <- here
        # mended: return 1.0 * z


def program():
    parts = [layers.Dense(6, "tanh", name="features"), Frozen(name="stop"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse")
    return model, X, Y
