"""A model in float16 without loss scaling: every gradient is below the smallest float16."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K11",
    "statuses": {"w/kernel": "zero"},
    "says": "scal|float16|half|underflow",
    "symptom": {"still": ["w/kernel"]},
    "source": "mixed precision (Micikevicius and others, 2018)",
}
X = (1e-3 * np.random.default_rng(0).normal(size=(32, 8))).astype("float32")
Y = np.zeros((32, 16), "float32")


def small(y, predicted):
    return 1e-3 * ops.mean(ops.square(ops.cast(predicted, "float32") - y))


def program():
    w = layers.Dense(16, use_bias=False, dtype="mixed_float16", name="w")
    model = keras.Sequential([keras.Input((8,)), w])
    optimizer = keras.optimizers.Adam(0.01, epsilon=1e-12)
    # mended: optimizer = keras.optimizers.Adam(0.01, epsilon=1e-12)
    # mended: optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**20)
    model.compile(optimizer, small, auto_scale_loss=False)
    return model, X, Y
