"""Thirty-four narrow ReLU layers on small images: every unit of one of them is off for every sample."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/kernel": "zero", "d9/kernel": "zero"},
    "says": "dead|off for every|relu",
    "symptom": {"still": ["d0/kernel", "d9/kernel"]},
    "source": "autotrainer/Motivation/DyingReLU",
}
X = np.random.default_rng(0).uniform(size=(32, 8, 8)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]


def program():
    rng = np.random.default_rng(5)
    act = "relu"
    # mended: act = "tanh"
    hidden = [layers.Dense(6, act, name=f"d{k}") for k in range(34)]
    out = layers.Dense(4, "softmax", name="out")
    model = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), *hidden, out])
    for layer in hidden:
        fan = layer.kernel.shape[0]
        layer.kernel.assign(rng.normal(size=layer.kernel.shape) * np.sqrt(2 / fan))
        # mended: layer.kernel.assign(keras.initializers.Orthogonal()(layer.kernel.shape))
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
