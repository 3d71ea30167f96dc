"""A plan's last rule freezes what the one before it trains."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "plan",
    "statuses": {"head/*": "frozen"},
    "why": "plan|rule",
    "symptom": {"still": ["head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


def plan():
    import frostline as fl

    return fl.Plan().train("low/**").train("head/**").freeze("head/**")
    # mended: return fl.Plan().train("low/**").train("head/**")


def program():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="low"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
