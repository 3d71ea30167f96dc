"""A fixed, huge loss scale: every scaled gradient is infinite in float16, and every step is left out."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K11",
    "statuses": {"w/kernel": "not_finite"},
    "says": "scal|float16|half|overflow",
    "symptom": {"still": ["w/kernel"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
Y = X[:, :4]


def program():
    w = layers.Dense(4, use_bias=False, dtype="mixed_float16", name="w")
    model = keras.Sequential([keras.Input((8,)), w])
    scale = 2.0**60
    # mended: scale = 2.0**10
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=scale)
    model.compile(optimizer, "mse")
    return model, X, Y
