"""A parabola by three numbers; squared errors are summed, and x squared is up to 36."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "thedeepchecker/SO_buggy_examples/IPS_17",
}
X = np.arange(7, dtype="float32")[:, None]
Y = X**2


class Parabola(layers.Layer):
    def build(self, shape):
        self.abc = self.add_weight(shape=(3,), initializer="zeros", name="abc")

    def call(self, x):
        return self.abc[0] * x**2 + self.abc[1] * x + self.abc[2]


def program():
    model = keras.Sequential([keras.Input((1,)), Parabola(name="parabola")])
    model.compile(keras.optimizers.SGD(0.01), lambda y, p: ops.sum((y - p) ** 2))
    # mended: model.compile(keras.optimizers.SGD(0.0001), lambda y, p: ops.sum((y - p) ** 2))
    return model, X, Y
