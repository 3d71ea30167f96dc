"""Ten tanh layers of tiny weights under an L1 penalty."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K5",
    "says": "vanish|collaps|too small|tiny|update|penalt",
    "symptom": {"blind": ["d0/kernel", "d1/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    act, width, depth = "tanh", 6, 10
    # mended: act, width, depth = "tanh", 6, 5
    start = "random_uniform"
    # mended: start = "glorot_uniform"
    penalty = "l1"
    # mended: penalty = keras.regularizers.L1(1e-5)
    hidden = [
        layers.Dense(width, act, kernel_initializer=start, kernel_regularizer=penalty, name=f"d{k}")
        for k in range(depth)
    ]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
