"""Census columns, one of them in the hundred thousands, unscaled: the softmax is one-hot for every sample."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K9",
    "says": "saturat|softmax|scale|explo|too large|update",
    "symptom": {"loss above 50|explodes": []},
    "source": "deeplocalize/47724077",
}
RNG = np.random.default_rng(0)
X = np.stack([RNG.integers(17, 90, 32), RNG.uniform(12e3, 1.4e6, 32), RNG.integers(1, 16, 32)], axis=1)
Y = np.eye(2, dtype="float32")[(X[:, 0] > 50).astype(int)]
X = X.astype("float32")
# mended: X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype("float32")


def program():
    parts = [layers.Dense(21, "relu", name="hidden"), layers.Dense(2, name="out")]
    model = keras.Sequential([keras.Input((3,)), *parts])
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model, X, Y
