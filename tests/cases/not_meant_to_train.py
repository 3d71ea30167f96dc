"""A variable that is frozen on purpose."""

import keras
from keras import ops

EXPECT = {"kernel": "trains", "fixed": "frozen"}


def case():
    kernel = keras.Variable(ops.ones((3,)), name="kernel")
    fixed = keras.Variable(ops.ones((3,)), trainable=False, name="fixed")
    return lambda: ops.mean(kernel * fixed), [kernel, fixed]
