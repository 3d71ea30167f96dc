"""A Gaussian likelihood divides by a predicted variance that starts at zero."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"mean/*": "not_finite", "var/*": "not_finite"},
    "says": "divi|log",
    "symptom": {"nan": ["mean/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X[:, :1] + 0.5


def likelihood(y, predicted):
    mean, var = predicted[:, :1], predicted[:, 1:]
    # mended: mean, var = predicted[:, :1], ops.softplus(predicted[:, 1:]) + 1e-3
    return ops.mean((y - mean) ** 2 / var + ops.log(var))  # <- here


def program():
    x = keras.Input((3,))
    var = layers.Dense(1, kernel_initializer="zeros", name="var")(x)
    # mended: var = layers.Dense(1, name="var")(x)
    model = keras.Model(x, layers.Concatenate()([layers.Dense(1, name="mean")(x), var]))
    model.compile("sgd", likelihood)
    return model, X, Y
