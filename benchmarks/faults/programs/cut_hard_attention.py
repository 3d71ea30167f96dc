"""Attention that takes the best step alone, by `argmax` and `one_hot`: the scores never learn."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "cut",
    "statuses": {"score/kernel": "cut"},
    "reason": ["integer"],
    "symptom": {"still": ["score/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(16, 5, 3)).astype("float32")
Y = X.max(axis=1)


class Hard(layers.Layer):
    def call(self, scores, x):
        chosen = ops.one_hot(ops.argmax(scores[..., 0], axis=-1), 5)  # <- here
        # mended: chosen = ops.softmax(scores[..., 0])
        return ops.sum(chosen[..., None] * x, axis=1)


def program():
    x = keras.Input((5, 3))
    scores = layers.Dense(1, use_bias=False, name="score")(x)
    model = keras.Model(x, layers.Dense(3, name="head")(Hard(name="hard")(scores, x)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, X, Y
