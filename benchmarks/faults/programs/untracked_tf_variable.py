"""A `tf.Variable` in a list inside an object of one's own."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

FAULT = {
    "kind": "untracked",
    "backends": ["tensorflow"],
    "says": "track|not the model's",
    "symptom": {"not saved": []},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Tilt(layers.Layer):
    def build(self, shape):
        self.tilt = tf.Variable(tf.random.uniform((shape[-1],)), name="tilt")
        # mended: self.tilt = self.add_weight(shape=(shape[-1],), initializer="uniform", name="tilt")

    def call(self, x):
        return x * (1 + self.tilt)


def program():
    model = keras.Sequential([keras.Input((4,)), Tilt(name="tilt"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
