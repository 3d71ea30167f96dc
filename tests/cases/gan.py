"""Two losses, two sets of variables: each asked about on its own, each live."""

import keras
from keras import ops

EXPECT = {"generator": "trains", "critic": "trains"}
NOISE = ops.reshape(ops.arange(6, dtype="float32"), (2, 3)) / 6


def case():
    generator = keras.Variable(ops.ones((3, 3)) * 0.1, name="generator")
    critic = keras.Variable(ops.ones((3, 1)) * 0.2, name="critic")
    return lambda: ops.mean(ops.softplus(-(NOISE @ generator) @ critic)), [generator, critic]
