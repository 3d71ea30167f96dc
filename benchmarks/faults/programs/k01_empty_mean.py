"""The mean over the valid steps of a sequence without any is 0 / 0."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K1",
    "statuses": {"head/*": "not_finite"},
    "says": "divi",
    "symptom": {"nan": ["head/*"]},
    "source": "own",
}
X = np.random.default_rng(0).integers(1, 9, size=(16, 5))
X[3] = 0
Y = np.random.default_rng(1).normal(size=(16, 1)).astype("float32")


class Mean(layers.Layer):
    def call(self, vectors, ids):
        valid = ops.cast(ops.not_equal(ids, 0), "float32")[..., None]
        total = ops.sum(valid, axis=1)
        return ops.sum(vectors * valid, axis=1) / total  # <- here
        # mended: return ops.sum(vectors * valid, axis=1) / ops.maximum(total, 1.0)


def program():
    ids = keras.Input((5,), dtype="int32")
    vectors = layers.Embedding(9, 4, name="table")(ids)
    model = keras.Model(ids, layers.Dense(1, name="head")(Mean(name="mean")(vectors, ids)))
    model.compile("sgd", "mse")
    return model, X, Y
