"""`tf.numpy_function` around a sum of squares: TensorFlow cannot see into NumPy."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

FAULT = {
    "kind": "left framework",
    "backends": ["tensorflow"],
    "statuses": {"body/*": "cut"},
    "reason": ["left_framework"],
    "symptom": {"still": ["body/*"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Cube(layers.Layer):
    def call(self, z):
        out = tf.numpy_function(lambda a: (a**3).astype("float32"), [z], tf.float32)  # <- here
        # mended: out = z**3
        return ops.reshape(out, (-1, 6))

    def compute_output_shape(self, shape):
        return (shape[0], 6)


def program():
    parts = [layers.Dense(6, name="body"), Cube(name="cube"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *parts])
    model.compile("sgd", "mse")
    return model, X, Y
