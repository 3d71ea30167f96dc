"""The loss was computed before the function: it is a constant in it."""

import keras
from keras import ops

EXPECT = {"kernel": "unused"}
EXPECT_ON = {"torch": {"kernel": "trains"}}  # PyTorch keeps the record with the tensor
X = ops.ones((2, 3))


def case():
    kernel = keras.Variable(ops.ones((3, 3)), name="kernel")
    made_before = ops.mean(X @ kernel)
    return lambda: made_before, [kernel]
