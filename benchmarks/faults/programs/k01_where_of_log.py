"""`where` picks the safe branch forwards; backwards both are computed, and zero times infinity is NaN."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"hidden/*": "not_finite"},
    "says": "log|where",
    "symptom": {"nan": ["hidden/*"]},
    "source": "jax-ml/jax#347, jax-ml/jax#1052",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
X[0] = 0.0
Y = np.abs(X[:, :2])


class SafeLog(layers.Layer):
    def call(self, z):
        return ops.where(z > 0, ops.log(z), 0.0)  # <- here
        # mended: safe = ops.where(z > 0, z, 1.0)
        # mended: return ops.where(z > 0, ops.log(safe), 0.0)


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="hidden"), SafeLog(name="log")])
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    return model, X, Y
