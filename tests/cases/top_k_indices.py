"""The positions of the largest numbers, not the numbers."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "integer"), "head": "trains"}
OPERATION = "top_k"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        score = ops.matmul(X, kernel)
        _, places = ops.top_k(score, k=2)  # cut
        return ops.mean(ops.take(head, places, axis=0))

    return loss, [kernel, head]
