"""One of two routes is stopped, the other lives."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.matmul(X, kernel)
        return ops.mean((ops.stop_gradient(hidden) + 0.5 * hidden) @ head)

    return loss, [kernel, head]
