"""A regression under a cross-entropy of outputs that are clipped to 1: above that, nothing is asked."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K10",
    "says": "clip|range|target|log|negative|unbounded",
    "symptom": {"unlearned": []},
    "steps": 120,
    "source": "thedeepchecker/synthetic/regrNN_inap_loss",
}
X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
Y = 3 + X[:, :1]


def cross_entropy(y, predicted):
    return ops.mean(-ops.sum(y * ops.log(ops.clip(predicted, 1e-10, 1.0)), axis=-1))  # <- here
    # mended: return ops.mean((y - predicted) ** 2)


def program():
    parts = [
        layers.Dense(16, "relu", kernel_initializer="he_normal", name="hidden"),
        layers.Dense(1, name="out"),
    ]
    model = keras.Sequential([keras.Input((5,)), *parts])
    model.compile(keras.optimizers.Adam(0.03), cross_entropy)
    return model, X, Y
