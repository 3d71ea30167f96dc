"""A layer made anew at every call: what is before it trains, and nobody owns the layer."""

import keras
from keras import layers, ops

EXPECT = {"first/kernel": "trains", "first/bias": "trains"}


class Making(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(3, name="first")

    def build(self, shape):
        self.first.build(shape)

    def call(self, x):
        return layers.Dense(2, name="made")(self.first(x))


def model():
    made = Making()
    made.build((None, 3))
    return made, ops.ones((2, 3)), ops.ones((2, 2))
