"""A model with two outputs, one of them left out of the loss."""

import keras
from keras import layers, ops

EXPECT = {"used/kernel": "trains", "used/bias": "trains", "other/kernel": "unused", "other/bias": "unused"}


def model():
    inputs = keras.Input((3,))
    outputs = [layers.Dense(2, name="used")(inputs), layers.Dense(2, name="other")(inputs)]
    return keras.Model(inputs, outputs), ops.ones((2, 3)), ops.ones((2, 2))


def loss(y, predicted):
    return ops.mean((y - predicted[0]) ** 2)
