"""An activity penalty is all that reaches a layer whose output is rounded."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"code/*": "cut"},
    "reason": ["not_differentiable"],
    "symptom": {"blind": ["code/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Round(layers.Layer):
    def call(self, z):
        return ops.round(z)  # <- here
        # mended: return z + ops.stop_gradient(ops.round(z) - z)


def program():
    code = layers.Dense(6, "tanh", activity_regularizer=keras.regularizers.L2(0.1), name="code")
    model = keras.Sequential([keras.Input((4,)), code, Round(name="round"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
