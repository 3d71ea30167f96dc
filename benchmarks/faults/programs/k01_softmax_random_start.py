"""Random normal weights on raw pixels: some probability is zero from the start, and its log is infinite."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "K1",
    "statuses": {"w": "not_finite", "b": "not_finite"},
    "says": "log",
    "symptom": {"nan": ["w", "b"]},
    "source": "thedeepchecker/GH_buggy_examples/TFE_333",
}
X = ops.convert_to_tensor((255 * np.random.default_rng(0).uniform(size=(20, 32))).astype("float32"))
Y = ops.convert_to_tensor(np.eye(10, dtype="float32")[np.arange(20) % 10])


def program():
    rng = np.random.default_rng(1)
    w = keras.Variable(rng.normal(size=(32, 10)).astype("float32"), name="w")
    b = keras.Variable(rng.normal(size=(10,)).astype("float32"), name="b")

    def loss():
        predicted = ops.softmax(X @ w + b)
        # mended: predicted = ops.softmax((X / 255 - 0.5) @ w / 8 + b)
        return ops.mean(-ops.sum(Y * ops.log(predicted), axis=1))  # <- here

    return loss, {"w": w, "b": b}
