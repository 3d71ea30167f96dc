"""One unit, then one unit under softmax, and the mean absolute error."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"first/*": "zero", "out/*": "zero"},
    "says": "softmax",
    "layer": "out",
    "symptom": {"still": ["first/*", "out/*"]},
    "source": "deeplocalize/45442843",
}
X = np.linspace(-1, 1, 20, dtype="float32")[:, None]
Y = 0.3 * X + 0.4


def program():
    out = layers.Dense(1, "softmax", name="out")
    # mended: out = layers.Dense(1, name="out")
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid", name="first"), out])
    model.compile("rmsprop", "mean_absolute_error")
    return model, X, Y
