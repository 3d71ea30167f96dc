"""Ten layers of exponentials of exponentials: infinite in the fourth."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K1",
    "statuses": {"d0/kernel": "not_finite", "out/kernel": "not_finite"},
    "says": "exp",
    "symptom": {"nan": ["d0/kernel", "d9/kernel"]},
    "source": "autotrainer/Blob/exponential",
}
RNG = np.random.default_rng(0)
LABEL = np.arange(60) % 3
X = (np.array([[0, 2], [2, -1], [-2, -1]])[LABEL] + 0.3 * RNG.normal(size=(60, 2))).astype("float32")
Y = np.eye(3, dtype="float32")[LABEL]


def program():
    act, width, depth = "exponential", 5, 10
    # mended: act, width, depth = "elu", 5, 10
    start = "he_uniform"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(3, "softmax", name="out")])
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
