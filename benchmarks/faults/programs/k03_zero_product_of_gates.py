"""Two gates multiply each other, and both start closed."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "K3",
    "statuses": {"left": "zero", "right": "zero"},
    "symptom": {"still": ["left", "right"]},
    "source": "own",
}
X = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(8, 3)).astype("float32"))


def program():
    left = keras.Variable(np.zeros(3, "float32"), name="left")
    # mended: left = keras.Variable(np.ones(3, "float32"), name="left")
    right = keras.Variable(np.zeros(3, "float32"), name="right")
    # mended: right = keras.Variable(np.full(3, 0.5, "float32"), name="right")
    scale = keras.Variable(np.ones(3, "float32"), name="scale")

    def loss():
        return ops.mean((X * left * right + X * scale - 2 * X) ** 2)  # <- here

    return loss, {"left": left, "right": right, "scale": scale}
