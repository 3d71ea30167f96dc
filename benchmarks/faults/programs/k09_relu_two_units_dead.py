"""Two layers of two ReLU units each for XOR: with these starting weights no unit of the second is ever on."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"d0/*": "zero", "d1/*": "zero"},
    "says": "dead|off for every|relu",
    "layer": "d1",
    "symptom": {"still": ["d0/*", "d1/*"]},
    "source": "deeplocalize/41372874",
}
X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
Y = np.array([[0], [1], [1], [0]], "float32")


def program():
    start = keras.initializers.RandomUniform(-0.05, 0.0, seed=3)
    # mended: start = keras.initializers.RandomUniform(0.1, 0.9, seed=3)
    parts = [layers.Dense(2, "relu", kernel_initializer=start, name=f"d{k}") for k in range(2)]
    out = layers.Dense(1, "sigmoid", kernel_initializer="random_uniform", name="out")
    model = keras.Sequential([keras.Input((2,)), *parts, out])
    model.compile("adam", "binary_crossentropy")
    return model, X, Y
