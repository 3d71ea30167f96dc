"""Ten sigmoid layers under L2 of 0.01, which alone moves the first ones."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K5",
    "says": "vanish|collaps|too small|tiny|update|penalt",
    "symptom": {"blind": ["d0/kernel", "d1/kernel"]},
    "source": "issue 17, K5",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    act, width, depth = "sigmoid", 8, 10
    # mended: act, width, depth = "tanh", 8, 5
    penalty = keras.regularizers.L2(0.01)
    # mended: penalty = keras.regularizers.L2(1e-5)
    hidden = [layers.Dense(width, act, kernel_regularizer=penalty, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, "sigmoid", name="out")])
    model.compile("sgd", "binary_crossentropy")
    return model, X, Y
