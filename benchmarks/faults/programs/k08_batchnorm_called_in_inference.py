"""BatchNormalization is called with training=False inside call: its statistics never move."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K8",
    "says": "statistic|moving",
    "layer": "norm",
    "symptom": {"still": ["*norm/moving_mean", "*norm/moving_variance"]},
    "source": "issue 17, K8",
}
X = np.random.default_rng(0).normal(3, 2, size=(32, 4)).astype("float32")
Y = X[:, :2]


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x, training=None):
        return self.norm(x, training=False)  # <- here
        # mended: return self.norm(x, training=training)


def program():
    model = keras.Sequential([keras.Input((4,)), Block(name="block"), layers.Dense(2, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
