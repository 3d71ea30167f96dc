"""A linear output under a cross-entropy that takes probabilities."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "logits|softmax|probab|range|activation",
    "symptom": {"outputs outside 0..1": []},
    "layer": "out",
    "source": "issue 17, K10",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.eye(3, dtype="float32")[np.digitize(X[:, 0], [-0.5, 0.5])]


def program():
    out = layers.Dense(3, name="out")
    # mended: out = layers.Dense(3, "softmax", name="out")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh", name="hidden"), out])
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    return model, X, Y
