"""Softmax in the net, and a loss that applies it once more."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "backends": ["torch", "jax"],
    "says": "logits|softmax|twice|probab",
    "symptom": {"loss has a floor": []},
    "layer": "out",
    "source": "neuralint/TF_lenet_wrong_loss_inputs",
}
X = np.random.default_rng(0).normal(size=(32, 8, 8, 1)).astype("float32")
Y = np.eye(4, dtype="float32")[np.arange(32) % 4]


def program():
    out = layers.Dense(4, "softmax", name="out")
    # mended: out = layers.Dense(4, name="out")
    parts = [layers.Conv2D(4, 3, activation="relu", name="conv"), layers.MaxPooling2D(), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, out])
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    return model, X, Y
