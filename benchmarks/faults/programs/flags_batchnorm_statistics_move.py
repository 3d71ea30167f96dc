"""The scale and shift of a BatchNormalization are frozen one by one: its statistics go on moving."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "flags",
    "says": "statistic|moving",
    "layer": "norm",
    "symptom": {"moves": ["norm/moving_mean", "norm/moving_variance"]},
    "source": "keras-team/keras#7085",
}
X = np.random.default_rng(0).normal(2, 3, size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    norm = layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(2, name="head")])
    norm.gamma.trainable = norm.beta.trainable = False
    # mended: norm.trainable = False
    model.compile("sgd", "mse")
    return model, X, Y
