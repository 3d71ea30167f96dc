"""An auxiliary loss has a weight of 0.0."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "statuses": {"aux/*": "zero"},
    "says": "multipl|weight|zero",
    "symptom": {"still": ["aux/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = {"main": X[:, :2], "aux": X[:, 2:]}


def program():
    x = keras.Input((4,))
    h = layers.Dense(6, activation="tanh", name="trunk")(x)
    model = keras.Model(x, {"main": layers.Dense(2, name="main")(h), "aux": layers.Dense(2, name="aux")(h)})
    losses = {"main": "mse", "aux": "mse"}
    model.compile("sgd", losses, loss_weights={"main": 1.0, "aux": 0.0})
    # mended: model.compile("sgd", losses, loss_weights={"main": 1.0, "aux": 0.3})
    return model, X, Y
