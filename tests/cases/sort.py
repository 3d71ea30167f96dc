"""Sorting passes a gradient to each number."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        ordered = ops.sort(ops.matmul(X, kernel), axis=-1)
        return ops.mean(ordered @ head)

    return loss, [kernel, head]
