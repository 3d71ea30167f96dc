"""A layer of binary weights takes their sign, without a straight-through estimator."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"*binary/w": "cut"},
    "reason": ["not_differentiable"],
    "symptom": {"still": ["*binary/w"]},
    "source": "binary networks (Courbariaux and others, 2016)",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Binary(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 6), name="w")

    def call(self, x):
        sign = ops.sign(self.w)  # <- here
        # mended: sign = self.w + ops.stop_gradient(ops.sign(self.w) - self.w)
        return ops.matmul(x, sign)


def program():
    model = keras.Sequential([keras.Input((4,)), Binary(name="binary"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
