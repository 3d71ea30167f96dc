"""A CNN whose kernels all start with a deviation of 0.25, whatever their fan: the steps are far too large."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "explo|too large|update",
    "symptom": {"loss above 50": []},
    "source": "thedeepchecker/synthetic/deepCNN_random",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(16) % 4]


def program():
    start = keras.initializers.RandomNormal(stddev=0.25)
    # mended: start = keras.initializers.HeNormal()
    body = [
        layers.Conv2D(32, 3, activation="relu", padding="same", kernel_initializer=start, name=f"c{k}")
        for k in range(5)
    ]
    parts = [layers.Flatten(), layers.Dense(4, kernel_initializer=start, name="out")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *body, *parts])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss)
    return model, X, Y
