"""Nine tanh layers from a uniform initializer of 0.05: all kernels vanish alike."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "vanish|collaps|too small|tiny|update",
    "symptom": {"tiny": ["d0/kernel", "d3/kernel"]},
    "source": "issue 17, K4",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    act, width, depth = "tanh", 4, 9
    start = "random_uniform"
    # mended: start = "orthogonal"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
