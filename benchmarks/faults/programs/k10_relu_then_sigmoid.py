"""ReLU and sigmoid one after the other: no output is below one half."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "relu|sigmoid|range|activation|below",
    "symptom": {"loss has a floor|unlearned": []},
    "layer": "out",
    "steps": 150,
    "source": "neuralint/TF_lenet_double_activation",
}
X = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype("float32")
Y = (X[:, 0, 0] > 0).astype("float32")


def program():
    out = [layers.Dense(1, "relu", name="out"), layers.Activation("sigmoid", name="prob")]
    # mended: out = [layers.Dense(1, name="out"), layers.Activation("sigmoid", name="prob")]
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, *out])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    return model, X, Y
