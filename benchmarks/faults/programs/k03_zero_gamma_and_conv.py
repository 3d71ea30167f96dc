"""The last normalization of a residual branch starts at zero, and so does the convolution behind it."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K3",
    "statuses": {"norm/gamma": "zero", "last/kernel": "zero", "first/kernel": "zero"},
    "symptom": {"still": ["norm/gamma", "last/kernel", "first/kernel"]},
    "source": "zero-gamma (Goyal and others, 2017), done twice",
}
X = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
Y = 10 * X.mean(axis=(1, 2))


def program():
    x = keras.Input((6, 6, 2))
    h = layers.Conv2D(2, 3, padding="same", activation="tanh", use_bias=False, name="first")(x)
    h = layers.BatchNormalization(
        gamma_initializer="zeros", beta_initializer="zeros", center=False, name="norm"
    )(h)
    h = layers.Conv2D(2, 1, kernel_initializer="zeros", use_bias=False, name="last")(h)
    # mended: h = layers.Conv2D(2, 1, use_bias=False, name="last")(h)
    h = layers.Add(name="add")([x, h])
    model = keras.Model(x, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(h)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, X, Y
