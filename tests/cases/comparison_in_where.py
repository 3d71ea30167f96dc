"""The condition of a `where` gets no gradient, its branches do."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "greater"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        gate = ops.matmul(X, kernel)
        open_ = gate > 0.5  # cut
        return ops.mean(ops.where(open_[:, :, None], 1.0 * head, 0.1 * head))

    return loss, [kernel, head]
