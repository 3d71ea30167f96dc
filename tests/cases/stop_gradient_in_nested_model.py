"""A layer of a nested model stops the gradient of what comes before it."""

import keras
from keras import layers, ops

EXPECT = {
    "inner/first/kernel": ("cut", "stop_gradient"),
    "inner/first/bias": ("cut", "stop_gradient"),
    "head/kernel": "trains",
    "head/bias": "trains",
}
OPERATION = "stop_gradient"
LAYER = "stopping"


class Stopping(layers.Layer):
    def call(self, x):
        return ops.stop_gradient(x)  # cut


def model():
    inner = keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, name="first"), Stopping(name="stopping")], name="inner"
    )
    inputs = keras.Input((3,))
    outputs = layers.Dense(2, name="head")(inner(inputs))
    return keras.Model(inputs, outputs), ops.ones((2, 3)), ops.ones((2, 2))
