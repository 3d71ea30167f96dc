"""Labels 0, 1 and 2 under one sigmoid unit and binary cross-entropy."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "label|class|range|target",
    "symptom": {"raises|unbounded": []},
    "steps": 150,
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
Y = np.digitize(X[:, :1], [-0.5, 0.5]).astype("float32")


def program():
    out = layers.Dense(1, "sigmoid", name="out")
    # mended: out = layers.Dense(3, "softmax", name="out")
    model = keras.Sequential([keras.Input((4,)), out])
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy")
    # mended: model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    return model, X, Y
