"""BatchNormalization is made anew in each call, so that its statistics are always those of the start."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "made in call",
    "says": "track|not the model's|call",
    "symptom": {"hidden layer": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(6, use_bias=False, name="dense")
        self.norm = None
        # mended: self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.dense.build(shape)
        if self.norm is not None:
            self.norm.build((shape[0], 6))

    def call(self, x, training=None):
        norm = self.norm or layers.BatchNormalization(name="norm")  # <- here
        return norm(self.dense(x), training=training)

    def compute_output_shape(self, shape):
        return (shape[0], 6)


def program():
    model = keras.Sequential([keras.Input((4,)), Block(name="block"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
