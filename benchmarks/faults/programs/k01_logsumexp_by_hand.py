"""log(sum(exp)) by hand underflows to log(0) for scores far below zero."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "K1",
    "statuses": {"scores": "not_finite"},
    "says": "log",
    "symptom": {"nan": ["scores"]},
    "source": "own",
}
X = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(8, 4)).astype("float32"))


def program():
    scores = keras.Variable(np.ones((4, 3), "float32"), name="scores")

    def loss():
        energy = X @ scores - 200.0
        return -ops.mean(ops.log(ops.sum(ops.exp(energy), axis=-1)))  # <- here
        # mended: return -ops.mean(ops.logsumexp(energy, axis=-1))

    return loss, {"scores": scores}
