"""A temperature that is meant to be learned lives in the loss object, not in the model."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "untracked",
    "says": "track|not the model's",
    "symptom": {"hidden variable": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.eye(3, dtype="float32")[np.arange(32) % 3]


class Scaled(layers.Layer):
    def build(self, shape):
        self.t = self.add_weight(shape=(), initializer="ones", name="t")

    def call(self, z):
        return z * self.t


def program():
    t = keras.Variable(1.0, name="t")
    HIDDEN.append(t)
    parts = [layers.Dense(3, name="out")]
    # mended: parts = [layers.Dense(3, name="out"), Scaled(name="scaled")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", lambda y, z: -ops.mean(ops.sum(y * ops.log_softmax(z * t), axis=-1)))
    # mended: model.compile("sgd", lambda y, z: -ops.mean(ops.sum(y * ops.log_softmax(z), axis=-1)))
    return model, X, Y


HIDDEN = []
