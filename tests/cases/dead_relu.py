"""Units that are off for every sample."""

import keras
from keras import layers, ops

EXPECT = {
    "first/kernel": "zero",
    "first/bias": "zero",
    "head/kernel": "zero",
    "head/bias": "trains",
}


def model():
    off = keras.initializers.Constant(-10.0)
    first = layers.Dense(3, activation="relu", bias_initializer=off, name="first")
    made = keras.Sequential([keras.Input((3,)), first, layers.Dense(2, name="head")])
    return made, ops.ones((2, 3)) * 0.1, ops.ones((2, 2))
