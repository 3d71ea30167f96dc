"""The root of a distance between two equal samples: the value is finite, its derivative is not."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"*tower/*kernel": "not_finite"},
    "says": "sqrt",
    "symptom": {"nan": ["*tower/*kernel"]},
    "source": "keras-team/keras#9097",
}
A = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
B = A + np.float32(0.5)
B[7] = A[7]
Y = np.ones((16, 1), "float32")


class Distance(layers.Layer):
    def call(self, p, q):
        squares = ops.sum(ops.square(p - q), axis=-1, keepdims=True)
        return ops.sqrt(squares)  # <- here
        # mended: return ops.sqrt(squares + 1e-6)


def program():
    tower = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="tanh", name="code")], name="tower"
    )
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], Distance(name="distance")(tower(a), tower(b)))
    model.compile("sgd", "mse")
    return model, [A, B], Y
