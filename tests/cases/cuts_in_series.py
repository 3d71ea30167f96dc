"""Two cuts, one behind the other: the one nearest to the loss is named."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "stop_gradient"), "head": "trains"}
OPERATION = "stop_gradient"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.round(ops.matmul(X, kernel))
        hidden = ops.stop_gradient(hidden)  # cut
        return ops.mean(hidden @ head)

    return loss, [kernel, head]
