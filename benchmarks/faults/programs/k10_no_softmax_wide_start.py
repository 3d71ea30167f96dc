"""Normal weights of deviation 1, ten outputs without softmax, and a cross-entropy of probabilities."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "logits|softmax|probab|range|activation",
    "symptom": {"outputs outside 0..1": []},
    "layer": "out",
    "source": "deeplocalize/48385830",
}
X = np.random.default_rng(0).uniform(size=(30, 16)).astype("float32")
Y = np.eye(10, dtype="float32")[np.arange(30) % 10]


def program():
    wide = keras.initializers.RandomNormal(stddev=1.0)
    # mended: wide = "glorot_normal"
    out = layers.Dense(10, kernel_initializer=wide, bias_initializer="zeros", name="out")
    # mended: out = layers.Dense(10, "softmax", kernel_initializer=wide, name="out")
    hidden = layers.Dense(30, "sigmoid", kernel_initializer=wide, name="hidden")
    model = keras.Sequential([keras.Input((16,)), hidden, out])
    model.compile(keras.optimizers.SGD(3.0), "categorical_crossentropy")
    # mended: model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    return model, X, Y
