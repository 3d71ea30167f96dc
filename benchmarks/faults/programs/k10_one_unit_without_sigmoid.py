"""One linear unit after a convolution, under binary cross-entropy of probabilities."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "logits|sigmoid|probab|range|activation",
    "symptom": {"outputs outside 0..1": []},
    "layer": "out",
    "source": "neuralint/SO_45120429",
}
X = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
Y = np.array([0, 1] * 8, "float32")[:, None]


def program():
    out = layers.Dense(1, name="out")
    # mended: out = layers.Dense(1, "sigmoid", name="out")
    parts = [layers.Conv2D(4, 3, activation="tanh", name="conv"), layers.Flatten(), out]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts])
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    return model, X, Y
