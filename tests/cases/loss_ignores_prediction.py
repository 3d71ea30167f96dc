"""The loss is computed from the targets alone."""

import keras
from keras import layers, ops

EXPECT = {"first/kernel": "unused", "first/bias": "unused"}


def model():
    made = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="first")])
    return made, ops.ones((2, 3)), ops.ones((2, 2))


def loss(y, predicted):
    return ops.mean((y - 0.5) ** 2)
