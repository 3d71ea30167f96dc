"""A head is replaced after compile: the optimizer has no slot for the new one."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "stale",
    "says": "compile|optimizer",
    "symptom": {"raises|still": ["new/*"]},
    "source": "keras-team/keras#871, keras-team/keras#2640",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="base"), layers.Dense(5, name="old")])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.pop()
    model.add(layers.Dense(2, name="new"))
    # mended: model.add(layers.Dense(2, name="new"))
    # mended: model.compile("adam", "mse")
    return model, X, Y
