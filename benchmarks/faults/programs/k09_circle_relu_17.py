"""Seventeen narrow ReLU layers: every unit of one of them is off for every sample."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/kernel": "zero", "d5/kernel": "zero"},
    "says": "dead|off for every|relu",
    "symptom": {"still": ["d0/kernel", "d5/kernel"]},
    "source": "autotrainer/Circle/relu",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    rng = np.random.default_rng(5)
    act, width, depth = "relu", 5, 17
    # mended: act, width, depth = "tanh", 5, 17
    hidden = [layers.Dense(width, act, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, "sigmoid", name="out")])
    for layer in hidden:
        fan = layer.kernel.shape[0]
        layer.kernel.assign(rng.normal(size=layer.kernel.shape) * np.sqrt(2 / fan))
        # mended: layer.kernel.assign(keras.initializers.Orthogonal()(layer.kernel.shape))
    model.compile("sgd", "binary_crossentropy")
    return model, X, Y
