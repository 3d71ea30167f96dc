"""A custom gradient that returns zeros."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "zero_gradient"), "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        @ops.custom_gradient
        def doubled(x):
            def grad(*_, upstream=None):
                return ops.zeros_like(x)

            return 2.0 * x, grad

        hidden = doubled(ops.matmul(X, kernel))  # cut
        return ops.mean(hidden @ head)

    return loss, [kernel, head]
