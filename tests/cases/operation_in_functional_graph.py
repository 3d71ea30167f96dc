"""An operation on symbolic tensors runs with no line of the user's below the call of the model."""

import keras
from keras import layers, ops

EXPECT = {"first/kernel": ("cut", "not_differentiable"), "first/bias": ("cut", "not_differentiable")}
OPERATION = "round"
PLACED = False


def model():
    inputs = keras.Input((3,))
    return (
        keras.Model(inputs, ops.round(layers.Dense(2, name="first")(inputs))),
        ops.ones((2, 3)),
        ops.ones((2, 2)),
    )
