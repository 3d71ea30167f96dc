"""A weight that nothing reads."""

import keras
from keras import ops

EXPECT = {"kernel": "unused", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        return ops.mean(X[:, :3] @ head)

    return loss, [kernel, head]
