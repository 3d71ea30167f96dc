"""Layers held in a container that Keras does not look into still run; the listed ones train."""

import keras
from keras import layers, ops

EXPECT = {"head/kernel": "trains", "head/bias": "trains"}


class Hidden(keras.Model):
    def __init__(self):
        super().__init__()
        hidden = layers.Dense(3, name="hidden")
        hidden.build((None, 3))
        self.held = lambda x: hidden(x)
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        self.head.build((None, 3))

    def call(self, x):
        return self.head(self.held(x))


def model():
    made = Hidden()
    made.build((None, 3))
    return made, ops.ones((2, 3)), ops.ones((2, 2))
