"""A mask made from a weight, and multiplied with."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "greater"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        score = ops.matmul(X, kernel)
        mask = ops.cast(ops.greater(score, 0.5), "float32")  # cut
        return ops.mean(mask @ head)

    return loss, [kernel, head]
