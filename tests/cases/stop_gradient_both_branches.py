"""Both routes are stopped, each on its own line."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "stop_gradient"), "head": "trains"}
OPERATION = "stop_gradient"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.matmul(X, kernel)
        left = ops.stop_gradient(hidden)  # cut
        right = ops.stop_gradient(2.0 * hidden)  # cut
        return ops.mean((left + right) @ head)

    return loss, [kernel, head]
