"""A raw `nn.Parameter` as attribute of a plain object inside a Keras layer."""

import keras
import numpy as np
import torch
from keras import layers

FAULT = {
    "kind": "untracked",
    "backends": ["torch"],
    "says": "track|not the model's",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Tilt(layers.Layer):
    def build(self, shape):
        self.held = (torch.nn.Parameter(torch.rand(shape[-1])),)
        # mended: self.held = (self.add_weight(shape=(shape[-1],), initializer="uniform", name="tilt"),)

    def call(self, x):
        return x * (1 + self.held[0])


def program():
    model = keras.Sequential([keras.Input((4,)), Tilt(name="tilt"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
