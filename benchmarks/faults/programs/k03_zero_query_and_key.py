"""Attention whose query and key both start at zero: no score ever changes."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K3",
    "statuses": {"query/kernel": "zero", "key/kernel": "zero"},
    "symptom": {"still": ["query/kernel", "key/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 5, 3)).astype("float32")
Y = X.max(axis=1)


class Mix(layers.Layer):
    def call(self, q, k, v):
        return ops.matmul(ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1)))), v)  # <- here


def program():
    x = keras.Input((5, 3))
    zero = "zeros"
    # mended: zero = "glorot_uniform"
    q = layers.Dense(4, use_bias=False, kernel_initializer=zero, name="query")(x)
    k = layers.Dense(4, use_bias=False, kernel_initializer=zero, name="key")(x)
    v = layers.Dense(3, name="value")(x)
    mixed = layers.GlobalMaxPooling1D()(Mix(name="mix")(q, k, v))
    model = keras.Model(x, layers.Dense(3, name="head")(mixed))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, X, Y
