"""An angle by arccos of a cosine: where two directions are equal, the derivative is infinite."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "K1",
    "statuses": {"turn": "not_finite"},
    "says": "arccos|acos",
    "symptom": {"nan": ["turn"]},
    "source": "own",
}
X = ops.convert_to_tensor(np.array([[1.0, 0.0], [0.6, 0.8]], "float32"))


def program():
    turn = keras.Variable(np.eye(2, dtype="float32"), name="turn")

    def loss():
        cosine = ops.sum((X @ turn) * X, axis=-1)
        return ops.mean(ops.arccos(cosine))  # <- here
        # mended: return ops.mean(ops.arccos(0.99 * cosine))

    return loss, {"turn": turn}
