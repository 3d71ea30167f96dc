"""A scan passes a gradient through what it carries and to what it closes over."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "head": "trains"}
X = ops.reshape(ops.arange(8, dtype="float32"), (2, 4)) / 8


def case():
    kernel = keras.Variable(ops.ones((4, 3)) * ops.arange(3, dtype="float32"), name="kernel")
    head = keras.Variable(ops.ones((3, 3)), name="head")

    def loss():
        def step(carried, row):
            carried = ops.tanh(ops.matmul(carried, kernel[:3]) + row[:3])
            return carried, ops.matmul(carried, head)

        _, outputs = ops.scan(step, ops.zeros((3,)), X)
        return ops.mean(outputs)

    return loss, [kernel, head]
