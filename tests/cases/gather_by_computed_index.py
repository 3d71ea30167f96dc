"""Rows looked up by an index that a weight decides."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "cast"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        score = ops.sum(ops.matmul(X, kernel), axis=0)
        place = ops.cast(score, "int32") % 3  # cut
        return ops.mean(ops.take(head, place, axis=0))

    return loss, [kernel, head]
