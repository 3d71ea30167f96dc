"""The last layer of a classifier is like all others: a ReLU cuts its logits at zero."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "relu|logits|range|activation|dead|off for",
    "symptom": {"unlearned": []},
    "steps": 120,
    "layer": "fc2",
    "source": "thedeepchecker/SO_buggy_examples/IPS_11",
}
X = np.random.default_rng(0).uniform(0.2, 1, size=(32, 6)).astype("float32")
Y = np.eye(4, dtype="float32")[np.argmax(X[:, :4], axis=1)]


def program():
    start = keras.initializers.RandomUniform(-1, 0.05, seed=2)
    last = layers.Dense(4, "relu", kernel_initializer=start, name="fc2")
    # mended: last = layers.Dense(4, name="fc2")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(24, "relu", name="fc1"), last])
    model.compile(keras.optimizers.Adam(0.02), keras.losses.CategoricalCrossentropy(from_logits=True))
    return model, X, Y
