"""A frozen base with dropout in it is called in training mode: its features are noisy."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "flags",
    "says": "random|dropout|noise",
    "symptom": {"random": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    parts = [layers.Dense(8, "tanh", name="low"), layers.Dropout(0.5, name="drop")]
    # mended: parts = [layers.Dense(8, "tanh", name="low")]
    base = keras.Sequential([keras.Input((4,)), *parts], name="base")
    base.trainable = False
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2, name="head")(base(x)))
    model.compile("sgd", "mse")
    return model, X, Y
