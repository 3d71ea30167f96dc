"""`sign` has a derivative of zero wherever it has one."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "not_differentiable"), "head": "trains"}
OPERATION = "sign"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        hidden = ops.sign(ops.matmul(X, kernel))  # cut
        return ops.mean(ops.matmul(hidden, head))

    return loss, [kernel, head]
