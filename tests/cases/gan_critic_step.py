"""The critic's step stops the gradient at what the generator made, as it should."""

import keras
from keras import ops

EXPECT = {"generator": ("cut", "stop_gradient"), "critic": "trains"}
OPERATION = "stop_gradient"
NOISE = ops.reshape(ops.arange(6, dtype="float32"), (2, 3)) / 6


def case():
    generator = keras.Variable(ops.ones((3, 3)) * 0.1, name="generator")
    critic = keras.Variable(ops.ones((3, 1)) * 0.2, name="critic")

    def loss():
        made = ops.stop_gradient(NOISE @ generator)  # cut
        return ops.mean(ops.softplus(made @ critic))

    return loss, [generator, critic]
