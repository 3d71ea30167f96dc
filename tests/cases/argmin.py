"""The index of the smallest number."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "argmin"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        logits = ops.matmul(X, kernel)
        chosen = ops.argmin(logits, axis=-1)  # cut
        return ops.mean(ops.matmul(ops.cast(chosen + 1, "float32")[:, None], head[:1]))

    return loss, [kernel, head]
