"""Stacked tanh layers read readings around 1e4 as they come: each is -1 or 1."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/*": "zero"},
    "says": "saturat|tanh",
    "layer": "d0",
    "symptom": {"still": ["d0/*"]},
    "source": "own",
}
X = np.random.default_rng(0).uniform(8000, 12000, size=(24, 4)).astype("float32")
# mended: X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.sin(np.arange(24, dtype="float32"))[:, None]


def program():
    start = keras.initializers.RandomUniform(0.1, 0.5, seed=1)
    parts = [layers.Dense(6, "tanh", kernel_initializer=start, name=f"d{k}") for k in range(2)]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
