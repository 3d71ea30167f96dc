"""Floating, integer, floating again."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "cast"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        whole = ops.cast(ops.matmul(X, kernel), "int32")  # cut
        return ops.mean(ops.matmul(ops.cast(whole, "float32"), head))

    return loss, [kernel, head]
