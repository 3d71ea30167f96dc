"""Two hidden layers of a regression start at 0.01 each."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K6",
    "says": "symmetr|equal|same gradient|identical",
    "layer": "d0",
    "symptom": {"equal": ["d0/kernel", "d1/kernel"]},
    "source": "thedeepchecker/synthetic/regrNN_constant",
}
X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = X[:, :1] * 2 + 1


def program():
    start = keras.initializers.Constant(0.01)
    # mended: start = keras.initializers.HeNormal()
    parts = [layers.Dense(16, "relu", kernel_initializer=start, name=f"d{k}") for k in range(2)]
    model = keras.Sequential(
        [keras.Input((5,)), *parts, layers.Dense(1, kernel_initializer=start, name="out")]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model, X, Y
