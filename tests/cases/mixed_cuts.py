"""Two routes, cut for different reasons."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer", "not_differentiable"), "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.matmul(X, kernel)
        left = ops.one_hot(ops.argmax(hidden, axis=-1), 3)  # cut
        right = ops.round(hidden)  # cut
        return ops.mean((left + right) @ head)

    return loss, [kernel, head]
