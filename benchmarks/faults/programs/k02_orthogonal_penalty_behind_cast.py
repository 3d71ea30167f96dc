"""An orthogonality penalty on a kernel behind a cast to integers."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"mix/kernel": "cut"},
    "reason": ["integer"],
    "symptom": {"blind": ["mix/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Levels(layers.Layer):
    def call(self, z):
        return ops.cast(ops.cast(4 * z, "int32"), "float32") / 4  # <- here
        # mended: return z + ops.stop_gradient(ops.cast(ops.cast(4 * z, "int32"), "float32") / 4 - z)


def program():
    flat = keras.regularizers.OrthogonalRegularizer(0.1, mode="columns")
    mix = layers.Dense(4, use_bias=False, kernel_regularizer=flat, name="mix")
    model = keras.Sequential([keras.Input((4,)), mix, Levels(name="levels"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
