"""The loss function, not the model, stops the gradient."""

import keras
from keras import layers, ops

EXPECT = {"first/kernel": ("cut", "stop_gradient"), "first/bias": ("cut", "stop_gradient")}
OPERATION = "stop_gradient"


def model():
    made = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="first")])
    return made, ops.ones((2, 3)), ops.ones((2, 2))


def loss(y, predicted):
    return ops.mean((y - ops.stop_gradient(predicted)) ** 2)  # cut
