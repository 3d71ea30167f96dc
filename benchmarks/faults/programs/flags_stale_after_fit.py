"""A layer's flag is put off after a first fit, without compiling anew: the compiled step trains it on."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "stale",
    "backends": ["jax", "tensorflow"],
    "statuses": {"low/*": "stale"},
    "says": "compile",
    "symptom": {"moves|raises": ["low/*"]},
    "source": "keras-team/keras#6405",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="low"), layers.Dense(2, name="top")])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=32, verbose=0)
    model.get_layer("low").trainable = False
    # mended: model.get_layer("low").trainable = False
    # mended: model.compile("sgd", "mse")
    return model, X, Y
