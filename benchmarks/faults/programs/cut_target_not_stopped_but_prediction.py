"""In a bootstrapped loss the prediction is stopped in place of the target."""

import keras
import numpy as np
from keras import ops

FAULT = {
    "kind": "cut",
    "statuses": {"online": "cut"},
    "reason": ["stop_gradient"],
    "symptom": {"still": ["online"]},
    "source": "own",
}
X = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(16, 3)).astype("float32"))


def program():
    online = keras.Variable(np.ones((3, 1), "float32"), name="online")
    value = keras.Variable(np.full((3, 1), 0.2, "float32"), name="value")

    def loss():
        reward, expected = ops.mean(X, axis=-1, keepdims=True), X @ value
        predicted = ops.stop_gradient(X @ online)  # <- here
        # mended: predicted = X @ online
        return ops.mean((reward + 0.9 * expected - predicted) ** 2)

    return loss, {"online": online, "value": value}
