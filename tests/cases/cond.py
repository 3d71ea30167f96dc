"""A conditional on data passes a gradient from whichever branch."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.matmul(X, kernel)
        hidden = ops.cond(ops.sum(X) > 1.0, lambda: hidden @ head, lambda: -hidden @ head)
        return ops.mean(hidden)

    return loss, [kernel, head]
