"""A layer reads its input as a list of Python numbers to find the largest."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "left framework",
    "backends": ["torch"],
    "statuses": {"scale/*": "cut"},
    "reason": ["left_framework"],
    "symptom": {"still": ["scale/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X[:, :2]


class Largest(layers.Layer):
    def call(self, z):
        if z.device.type == "meta":
            return ops.ones((z.shape[0], 1))
        return ops.convert_to_tensor([[max(row)] for row in z.tolist()])  # <- here
        # mended: return ops.max(z, axis=-1, keepdims=True)

    def compute_output_shape(self, shape):
        return (shape[0], 1)


def program():
    parts = [layers.Dense(4, name="scale"), Largest(name="largest"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
