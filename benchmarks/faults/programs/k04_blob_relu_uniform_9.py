"""Nine ReLU layers of five units from a small uniform initializer."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|collaps|too small|tiny|update|dead|off for every",
    "symptom": {"tiny": ["d0/kernel", "d1/kernel", "d2/kernel"]},
    "source": "autotrainer/Blob/relu_uniform",
}
RNG = np.random.default_rng(0)
LABEL = np.arange(60) % 3
X = (np.array([[0, 2], [2, -1], [-2, -1]])[LABEL] + 0.3 * RNG.normal(size=(60, 2))).astype("float32")
Y = np.eye(3, dtype="float32")[LABEL]


def program():
    act, width, depth = "relu", 5, 9
    # mended: act, width, depth = "tanh", 16, 9
    start = "random_uniform"
    # mended: start = "orthogonal"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(3, "softmax", name="out")])
    model.compile("sgd", "categorical_crossentropy")
    return model, X, Y
