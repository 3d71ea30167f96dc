"""A plan trains a side branch alone, and the loss never looks at it."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "plan",
    "statuses": {"side/*": "unused"},
    "symptom": {"still|raises": ["side/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def loss(y, both):
    return ops.mean((y - both[:, :2]) ** 2)
    # mended: return ops.mean((y - both[:, 2:]) ** 2)


def plan():
    import frostline as fl

    return fl.Plan().train("side/**")


def program():
    x = keras.Input((4,))
    h = layers.Dense(6, activation="tanh", name="trunk")(x)
    outputs = [layers.Dense(2, name="main")(h), layers.Dense(2, name="side")(h)]
    model = keras.Model(x, layers.Concatenate(name="both")(outputs))
    model.compile("sgd", loss)
    return model, X, Y
