"""The second output enters no loss; an L1 penalty moves its kernel all the same."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"other/kernel": "unused", "other/bias": "unused"},
    "symptom": {"blind": ["other/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def loss(y, both):
    return ops.mean((y - both[:, :2]) ** 2)
    # mended: return ops.mean((y - both[:, :2]) ** 2) + ops.mean((y - both[:, 2:]) ** 2)


def program():
    x = keras.Input((4,))
    h = layers.Dense(8, activation="tanh", name="trunk")(x)
    main = layers.Dense(2, name="main")(h)
    other = layers.Dense(2, kernel_regularizer=keras.regularizers.L1(0.01), name="other")(h)
    model = keras.Model(x, layers.Concatenate(name="both")([main, other]))
    model.compile("sgd", loss)
    return model, X, Y
