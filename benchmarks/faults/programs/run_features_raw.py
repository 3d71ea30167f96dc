"""Weights of cars in pounds and years beside counts of cylinders, as they come."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "runs away",
    "says": "explo|too large|diverg|scale|runs away|step",
    "symptom": {"explodes|nan": []},
    "source": "thedeepchecker/synthetic/regrNN_miss_norm",
}
RNG = np.random.default_rng(0)
X = np.stack([RNG.integers(3, 9, 40), RNG.uniform(70, 450, 40), RNG.uniform(1600, 5100, 40)], axis=1)
Y = ((6000 - X[:, 2:]) / 100).astype("float32")
X = X.astype("float32")
# mended: X, Y = ((X - X.mean(axis=0)) / X.std(axis=0)).astype("float32"), Y / 40


def program():
    parts = [layers.Dense(16, "relu", kernel_initializer="he_normal", name=f"d{k}") for k in range(2)]
    model = keras.Sequential([keras.Input((3,)), *parts, layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    return model, X, Y
