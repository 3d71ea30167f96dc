"""Three wide ReLU layers with weights of deviation 1: the logits are in the thousands, and so is the loss."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K4",
    "says": "explo|too large|diverg|scale|saturat|update",
    "symptom": {"loss above 50": []},
    "source": "thedeepchecker/SO_buggy_examples/IPS_4",
}
X = np.random.default_rng(0).uniform(size=(32, 64)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]


def program():
    start = keras.initializers.RandomNormal(stddev=1.0)
    # mended: start = keras.initializers.HeNormal()
    body = [layers.Dense(64, "relu", kernel_initializer=start, name=f"d{k}") for k in range(3)]
    model = keras.Sequential(
        [keras.Input((64,)), *body, layers.Dense(4, kernel_initializer=start, name="out")]
    )
    model.compile(keras.optimizers.Adam(0.003), keras.losses.CategoricalCrossentropy(from_logits=True))
    return model, X, Y
