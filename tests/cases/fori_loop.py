"""A loop with a fixed number of rounds passes a gradient."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        def body(_, hidden):
            return ops.tanh(hidden @ head)

        return ops.mean(ops.fori_loop(0, 3, body, ops.matmul(X, kernel)))

    return loss, [kernel, head]
