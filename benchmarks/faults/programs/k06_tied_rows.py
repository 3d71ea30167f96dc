"""All rows of an attention's two heads are copied from one: both heads stay the same head."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "symptom": {"equal": ["w"]},
    "source": "own",
}
X = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(16, 3)).astype("float32"))


def program():
    rng = np.random.default_rng(1)
    column = rng.normal(size=(3, 1)).astype("float32")
    w = keras.Variable(np.tile(column, (1, 4)), name="w")
    # mended: w = keras.Variable(rng.normal(size=(3, 4)).astype("float32"), name="w")
    v = keras.Variable(np.full((4, 1), 0.5, "float32"), name="v")

    def loss():
        return ops.mean((ops.tanh(X @ w) @ v - X[:, :1]) ** 2)

    return loss, {"w": w, "v": v}
