"""float16 ends at 65504: the squares of raw readings are infinite in half precision."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"scale/*": "not_finite"},
    "says": "square|half|float16",
    "symptom": {"nan": ["scale/*"]},
    "source": "own",
}
X = (400 + 50 * np.random.default_rng(0).normal(size=(16, 4))).astype("float32")
Y = X[:, :2] / 400


class Energy(layers.Layer):
    def call(self, z):
        return ops.square(z) / 160000  # <- here
        # mended: return ops.square(z / 400)


def program():
    energy = Energy(dtype="float16", name="energy")
    model = keras.Sequential([keras.Input((4,)), energy, layers.Dense(2, name="scale")])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model, X, Y
