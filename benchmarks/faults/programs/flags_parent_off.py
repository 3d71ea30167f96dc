"""The model is frozen as a whole, and the head's flag is set afterwards: the parent's flag wins."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "flags",
    "statuses": {"top/*": "frozen"},
    "why": "parent|model|'m'|whole",
    "symptom": {"still|raises": ["top/*"]},
    "source": "GantMan/nsfw_model#33",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def program():
    parts = [layers.Dense(4, "tanh", name="base"), layers.Dense(2, name="top")]
    model = keras.Sequential([keras.Input((4,)), *parts], name="m")
    model.trainable = False
    # mended: model.get_layer("base").trainable = False
    model.get_layer("top").trainable = True
    model.compile("sgd", "mse")
    return model, X, Y
