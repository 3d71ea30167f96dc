"""A codebook picks the nearest code, and the straight-through term is missing."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"encoder/*": "cut"},
    "reason": ["integer"],
    "symptom": {"still": ["encoder/*"]},
    "source": "VQ-VAE (van den Oord and others, 2017) without its copied gradient",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


class Quantize(layers.Layer):
    def build(self, shape):
        self.codes = self.add_weight(shape=(8, shape[-1]), initializer="glorot_normal", name="codes")

    def call(self, z):
        far = ops.sum((z[:, None] - self.codes[None]) ** 2, axis=-1)
        code = ops.take(self.codes, ops.argmin(far, axis=-1), axis=0)  # <- here
        return code
        # mended: return code + z - ops.stop_gradient(z)


def program():
    parts = [layers.Dense(3, name="encoder"), Quantize(name="vq"), layers.Dense(4, name="decoder")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    return model, X, X
