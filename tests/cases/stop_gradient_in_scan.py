"""A scan whose step stops the gradient of what it carries."""

import keras
from keras import ops

EXPECT = {"kernel": ("cut", "stop_gradient"), "head": "trains"}
OPERATION = "stop_gradient"
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        def step(carried, row):
            carried = ops.stop_gradient(ops.matmul(carried, kernel[:3]) + row[:3])  # cut
            return carried, ops.matmul(carried, head)

        _, outputs = ops.scan(step, ops.zeros((3,)), X)
        return ops.mean(outputs)

    return loss, [kernel, head]
