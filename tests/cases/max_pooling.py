"""Max pooling passes a gradient to the largest of each window."""

import keras
from keras import layers, ops

EXPECT = {"conv/kernel": "trains", "conv/bias": "trains"}


def model():
    inputs = keras.Input((4, 4, 1))
    hidden = layers.Conv2D(2, 3, padding="same", name="conv")(inputs)
    outputs = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(hidden))
    return keras.Model(inputs, outputs), ops.ones((2, 4, 4, 1)), ops.ones((2, 2))
