"""LoRA by hand with both factors at zero: each one's gradient is a multiple of the other."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K3",
    "statuses": {"*lora/a": "zero", "*lora/b": "zero"},
    "symptom": {"still": ["*lora/a", "*lora/b"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class LoRA(layers.Layer):
    def build(self, shape):
        self.base = self.add_weight(shape=(shape[-1], 2), trainable=False, name="base")
        self.a = self.add_weight(shape=(shape[-1], 2), initializer="zeros", name="a")
        # mended: self.a = self.add_weight(shape=(shape[-1], 2), initializer="he_normal", name="a")
        self.b = self.add_weight(shape=(2, 2), initializer="zeros", name="b")

    def call(self, x):
        return x @ self.base + (x @ self.a) @ self.b  # <- here


def program():
    model = keras.Sequential([keras.Input((4,)), LoRA(name="lora")])
    model.compile("sgd", "mse")
    return model, X, Y
