"""A layer called twice, one of its outputs stopped."""

import keras
from keras import layers, ops

EXPECT = {"shared/kernel": "trains", "shared/bias": "trains"}


class Twice(keras.Model):
    def __init__(self):
        super().__init__()
        self.shared = layers.Dense(3, name="shared")

    def build(self, shape):
        self.shared.build(shape)

    def call(self, x):
        return self.shared(x) + ops.stop_gradient(self.shared(2.0 * x))


def model():
    made = Twice()
    made.build((None, 3))
    return made, ops.ones((2, 3)), ops.zeros((2, 3))
