"""Eight ReLU layers with weights of deviation 1: gradients grow by four for each."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "explo|too large|overflow|update|not finite|inf",
    "symptom": {"explodes|nan": ["d0/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype("float32")
Y = (np.sum(X**2, axis=1, keepdims=True) < 0.6).astype("float32")


def program():
    act, width, depth = "relu", 16, 8
    start = keras.initializers.RandomNormal(stddev=1.0)
    # mended: start = "he_normal"
    hidden = [layers.Dense(width, act, kernel_initializer=start, name=f"d{k}") for k in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *hidden, layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(0.001), "mse")
    return model, X, Y
