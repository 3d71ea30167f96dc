"""A custom gradient that passes what comes."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        @ops.custom_gradient
        def clipped(x):
            def grad(*args, upstream=None):
                return ops.clip(args[0] if upstream is None else upstream, -1.0, 1.0)

            return 2.0 * x, grad

        return ops.mean(clipped(ops.matmul(X, kernel)) @ head)

    return loss, [kernel, head]
