"""An adapter whose down and up projections both start at zero."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K3",
    "statuses": {"down/kernel": "zero", "down/bias": "zero", "up/kernel": "zero"},
    "symptom": {"still": ["down/kernel", "down/bias", "up/kernel"]},
    "source": "adapters (Houlsby and others, 2019), done twice",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    x = keras.Input((4,))
    h = layers.Dense(6, activation="tanh", trainable=False, name="base")(x)
    down = layers.Dense(3, activation="gelu", kernel_initializer="zeros", name="down")(h)
    # mended: down = layers.Dense(3, activation="gelu", name="down")(h)
    up = layers.Dense(6, kernel_initializer="zeros", name="up")(down)
    model = keras.Model(x, layers.Dense(2, name="head")(layers.Add(name="sum")([h, up])))
    model.compile("sgd", "mse")
    return model, X, Y
