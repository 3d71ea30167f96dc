"""Thirteen sigmoid layers of five units: nothing comes back to the first ones."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|collaps|too small|tiny|update",
    "symptom": {"tiny": ["d0/kernel", "d1/kernel", "d2/kernel"]},
    "source": "autotrainer/Circle/sigmoid",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    act, width, depth = "sigmoid", 5, 13
    # mended: act, width, depth = "tanh", 5, 13
    start = "he_uniform"
    # mended: start = "orthogonal"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, "sigmoid", name="out")])
    model.compile("sgd", "binary_crossentropy")
    return model, X, Y
