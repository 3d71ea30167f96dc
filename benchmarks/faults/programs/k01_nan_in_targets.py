"""A missing number among the targets."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K1",
    "statuses": {"first/*": "not_finite", "head/*": "not_finite"},
    "says": "target|label|y\\b",
    "symptom": {"nan": ["first/*", "head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]
Y[3] = np.nan
# mended: Y[3] = 0.0


def program():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, activation="tanh", name="first"), layers.Dense(1, name="head")]
    )
    model.compile("sgd", "mse")
    return model, X, Y
