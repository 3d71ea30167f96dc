"""A loss scale of 1, which never has time to grow, leaves the gradient below float16."""

import keras
import numpy as np
from keras import layers, ops

FAULT = {
    "kind": "K11",
    "statuses": {"w/kernel": "zero"},
    "says": "scal|float16|half|underflow",
    "symptom": {"still": ["w/kernel"]},
    "source": "own",
}
X = (1e-3 * np.random.default_rng(0).normal(size=(32, 8))).astype("float32")
Y = np.zeros((32, 16), "float32")


def small(y, predicted):
    return 1e-3 * ops.mean(ops.square(ops.cast(predicted, "float32") - y))


def program():
    w = layers.Dense(16, use_bias=False, dtype="mixed_float16", name="w")
    model = keras.Sequential([keras.Input((8,)), w])
    scale = 1.0
    # mended: scale = 2.0**20
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01, epsilon=1e-12), initial_scale=scale
    )
    model.compile(optimizer, small)
    return model, X, Y
