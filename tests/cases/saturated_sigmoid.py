"""A sigmoid so far out that its derivative is zero in float32."""

import keras
from keras import ops

EXPECT = {"kernel": "zero", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        open_ = ops.sigmoid(ops.matmul(X, kernel) * 1e3 + 1e4)
        return ops.mean(open_ @ head)

    return loss, [kernel, head]
