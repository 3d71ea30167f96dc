"""L2 of 10 on each kernel of a regression: the penalty moves the weights, whatever the targets are."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K5",
    "says": "penalt|regulariz",
    "symptom": {"unlearned": []},
    "steps": 150,
    "source": "thedeepchecker/synthetic/regrNN_over_reg",
}
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1] + 0.5 * X[:, 1:2]


def program():
    strength = 10.0
    # mended: strength = 1e-5
    l2 = keras.regularizers.L2(strength)
    first = layers.Dense(16, "relu", kernel_regularizer=l2, name="first")
    model = keras.Sequential([keras.Input((4,)), first, layers.Dense(1, kernel_regularizer=l2, name="out")])
    model.compile(keras.optimizers.SGD(0.02), "mse")
    return model, X, Y
