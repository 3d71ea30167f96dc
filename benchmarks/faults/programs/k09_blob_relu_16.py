"""Sixteen narrow ReLU layers in front of three classes, dead from the start."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/kernel": "zero", "d4/kernel": "zero"},
    "says": "dead|off for every|relu",
    "symptom": {"still": ["d0/kernel", "d4/kernel"]},
    "source": "autotrainer/Blob/relu",
}
RNG = np.random.default_rng(0)
LABEL = np.arange(60) % 3
X = (np.array([[0, 2], [2, -1], [-2, -1]])[LABEL] + 0.3 * RNG.normal(size=(60, 2))).astype("float32")
Y = np.eye(3, dtype="float32")[LABEL]


def program():
    rng = np.random.default_rng(5)
    act, width, depth = "relu", 5, 16
    # mended: act, width, depth = "tanh", 5, 16
    hidden = [layers.Dense(width, act, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(3, "softmax", name="out")])
    for layer in hidden:
        fan = layer.kernel.shape[0]
        layer.kernel.assign(rng.normal(size=layer.kernel.shape) * np.sqrt(2 / fan))
        # mended: layer.kernel.assign(keras.initializers.Orthogonal()(layer.kernel.shape))
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
