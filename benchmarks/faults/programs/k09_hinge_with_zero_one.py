"""A ReLU of the margin is zero for every sample, since all margins are already met."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K9",
    "statuses": {"score/*": "zero"},
    "says": "relu|maximum",
    "symptom": {"still": ["score/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = np.where(X[:, :1] > 0, 1.0, -1.0).astype("float32")


def margin(y, score):
    return ops.mean(ops.relu(-20.0 - y * score))  # <- here
    # mended: return ops.mean(ops.relu(1.0 - y * score))


def program():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, name="score")])
    model.compile("sgd", margin)
    return model, X, Y
