"""Binary cross-entropy for a regression whose targets are in the tens."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "target|label|range|between 0 and 1|probab",
    "symptom": {"raises|unbounded|nan": []},
    "steps": 60,
    "source": "deepfd/46642627",
}
X = np.random.default_rng(0).uniform(0, 1, size=(32, 2)).astype("float32")
Y = 10 + 40 * X[:, :1]


def program():
    parts = [layers.Dense(8, "relu", name="hidden"), layers.Dense(1, "sigmoid", name="out")]
    # mended: parts = [layers.Dense(8, "relu", name="hidden"), layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((2,)), *parts])
    model.compile(keras.optimizers.SGD(0.01), "binary_crossentropy")
    # mended: model.compile(keras.optimizers.SGD(0.01), "mse")
    return model, X, Y
