"""Rows with several right classes under softmax: its outputs sum to one, the targets to more."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "sum|several|target|label|probab|distribution",
    "symptom": {"targets do not sum to 1": []},
    "source": "deeplocalize/50306988",
}
X = np.random.default_rng(0).normal(size=(32, 5)).astype("float32")
Y = (X[:, :4] > -0.5).astype("float32")


def program():
    out = layers.Dense(4, "softmax", name="out")
    # mended: out = layers.Dense(4, "sigmoid", name="out")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, "sigmoid", name="hidden"), out])
    model.compile("adam", "categorical_crossentropy")
    # mended: model.compile("adam", "binary_crossentropy")
    return model, X, Y
