"""A Lambda closes over a `keras.Variable` that belongs to no layer."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "untracked",
    "says": "track|not the model's",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Scale(layers.Layer):
    def build(self, shape):
        self.s = self.add_weight(shape=(4,), initializer="uniform", name="s")

    def call(self, x):
        return x * (1 + self.s)


def program():
    s = keras.Variable(keras.random.uniform((4,)), name="s")
    body = layers.Lambda(lambda z: z * (1 + s), name="scale")
    # mended: body = Scale(name="scale")
    model = keras.Sequential([keras.Input((4,)), body, layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
