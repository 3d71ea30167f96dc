"""A layer's own `add_loss` is all that moves it: `argmax` hides it from the targets."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K2",
    "statuses": {"*pick/logits": "cut"},
    "reason": ["integer"],
    "symptom": {"blind": ["*pick/logits"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :2]


class Pick(layers.Layer):
    def build(self, shape):
        self.logits = self.add_weight(shape=(shape[-1], 3), name="logits")

    def call(self, x):
        logits = ops.matmul(x, self.logits)
        self.add_loss(0.1 * ops.mean(ops.square(logits)))
        return ops.one_hot(ops.argmax(logits, axis=-1), 3)  # <- here
        # mended: return ops.softmax(logits)


def program():
    model = keras.Sequential([keras.Input((4,)), Pick(name="pick"), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    return model, X, Y
