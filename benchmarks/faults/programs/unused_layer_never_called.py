"""A second dense layer is made, and `call` uses the first one twice."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "no route",
    "statuses": {"*second/*": "unused"},
    "symptom": {"still": ["*second/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Twice(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Dense(4, "tanh", name="first")
        self.second = layers.Dense(4, "tanh", name="second")
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        for layer in (self.first, self.second, self.head):
            layer.build((None, 4))

    def call(self, x):
        return self.head(self.first(self.first(x)))
        # mended: return self.head(self.second(self.first(x)))


def program():
    model = Twice()
    model.build((None, 4))
    model.compile("sgd", "mse")
    return model, X, Y
